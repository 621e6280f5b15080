"""Hypothesis in profiles: `quick` while one works, `thorough` before a change goes in, and
`mutate`, which draws the same examples each time and stops at the first that fails.

Choose with `--hypothesis-profile=quick`. Properties are judged by their truth, not by how busy the
machine is.
"""

import pytest
from hypothesis import Phase, settings

pytest.register_assert_rewrite("tests.support")  # its assertions tell what they compared, too

settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.register_profile(
    "mutate",
    deadline=None,
    max_examples=50,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("thorough")
