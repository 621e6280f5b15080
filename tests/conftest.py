"""Hypothesis in two profiles: `quick` while one works, `thorough` before a change goes in.

Choose with `--hypothesis-profile=quick`. Properties are judged by their truth, not by how busy the
machine is.
"""

import pytest
from hypothesis import settings

# Their assertions tell what they compared, too.
for name in ("harness", "scenario", "scenarios_pairs", "scenarios_under_way", "whole_copy"):
    pytest.register_assert_rewrite(f"tests.integration.{name}")

settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile("thorough")
