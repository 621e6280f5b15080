"""Hypothesis in two profiles: `quick` while one works, `thorough` before a change goes in.

Choose with `--hypothesis-profile=quick`. Properties are judged by their truth, not by how busy the
machine is.
"""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.support")  # its assertions tell what they compared, too

settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile("thorough")
