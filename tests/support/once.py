"""Files that all workers of a test run share, made by whichever asks first."""

import fcntl
import tempfile
from collections.abc import Callable
from pathlib import Path


def made_once(directory: Path, make: Callable[[Path], object]) -> Path:
    """The directory, filled by `make` unless another process did; then that one is waited for.
    `make` gets an empty directory beside it, so that one that failed leaves nothing half made."""
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
            make(unfinished)
            unfinished.rename(directory)
    return directory
