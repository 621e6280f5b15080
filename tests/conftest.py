"""What all tests share: properties are judged by their truth, not by how busy the machine is."""

import pytest
from hypothesis import settings

# Their assertions tell what they compared, too.
for name in ("harness", "scenario", "scenarios_pairs", "scenarios_under_way", "whole_copy"):
    pytest.register_assert_rewrite(f"tests.integration.{name}")

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
