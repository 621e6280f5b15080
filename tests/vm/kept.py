"""What takes minutes to make, kept outside the clone where UGS_CACHE names a folder."""

import subprocess
from pathlib import Path

from tests.vm.images import ImageError

PROGRAM = Path(__file__).resolve().parents[2] / "live-build" / "cache"
MISSING = 3  # its exit status for an entry that is not there, or when there is no such folder


def fetch(name: str, directory: Path) -> bool:
    """Make `directory`, not there yet or empty; False when nothing is kept under this name. Raises
    ImageError."""
    return _call("fetch", name, directory)


def keep(name: str, directory: Path) -> None:
    """For whoever wants it next, where there is such a folder. Raises ImageError."""
    _call("keep", name, directory)


def _call(word: str, name: str, directory: Path) -> bool:
    done = subprocess.run([PROGRAM, word, name, directory], check=False)
    if done.returncode not in (0, MISSING):
        raise ImageError(f"The cache in $UGS_CACHE could not {word} {name} (see above).")
    return done.returncode == 0
