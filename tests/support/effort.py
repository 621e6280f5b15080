"""How many examples a property gets that deserves more than its profile gives all."""

from hypothesis import settings


def examples(*, quick: int, thorough: int) -> settings:
    """To be used as a decorator; see tests/conftest.py for the profiles."""
    is_quick = settings.get_current_profile_name() != "thorough"
    return settings(max_examples=quick if is_quick else thorough)
