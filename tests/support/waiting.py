"""Waits for events, and the one bound that says they never came."""

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds; only what hangs takes so long, on however busy a machine
_PAUSE = 0.01  # seconds between two looks


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until it holds. Raises AssertionError after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"it did not come to hold within {PATIENCE:g} seconds"
        time.sleep(_PAUSE)
