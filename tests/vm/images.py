"""Disk images on the host: overlays that keep the original untouched, blanks, digests."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


class ImageError(Exception):
    """An image file cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Image:
    """An image file as qemu-img sees it. `size` is what the machine sees, in bytes."""

    path: Path
    format: str
    size: int


def call(*argv: str | Path) -> str:
    """Run a tool and return its output. Raises ImageError with the tool's own words."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ImageError(f"{words[0]} is not installed (see .ci/packages).") from error
    except subprocess.CalledProcessError as error:
        raise ImageError(f"`{' '.join(words)}` failed: {error.stderr.strip()}") from error
    return done.stdout


def look_at(path: Path) -> Image:
    """Raises ImageError when there is no such image, or it is neither raw nor qcow2."""
    if not path.is_file():
        raise ImageError(f"There is no disk image {path}.")
    facts = json.loads(call("qemu-img", "info", "--output=json", path))
    if facts["format"] not in ("raw", "qcow2"):
        raise ImageError(f"{path} is a {facts['format']} image; convert it to raw or qcow2 first.")
    return Image(path.resolve(), facts["format"], facts["virtual-size"])


def make_overlay(base: Image, path: Path) -> Image:
    """A qcow2 that takes every write meant for `base`."""
    path.unlink(missing_ok=True)
    call("qemu-img", "create", "-q", "-f", "qcow2", "-F", base.format, "-b", base.path, path)
    return Image(path.resolve(), "qcow2", base.size)


def make_blank(path: Path, size: int) -> Image:
    """A raw image of zeros that takes no room yet."""
    path.unlink(missing_ok=True)
    with path.open("wb") as stream:
        stream.truncate(size)
    return Image(path.resolve(), "raw", size)


def written_bytes(overlay: Image) -> int:
    """How much of the overlay was ever written: 0 when the machine wrote nothing."""
    extents = json.loads(call("qemu-img", "map", "--output=json", overlay.path))
    return sum(extent["length"] for extent in extents if extent["depth"] == 0 and extent["present"])


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def as_raw(image: Image, path: Path) -> Path:
    """The image's content as a raw file: itself, or a sparse conversion at `path`."""
    if image.format == "raw":
        return image.path
    call("qemu-img", "convert", "-O", "raw", image.path, path)
    return path


def extract(iso: Path, directory: Path, *names: str) -> tuple[Path, ...]:
    """Files of an ISO, laid into the directory. Raises ImageError."""
    targets = tuple(directory / Path(name).name for name in names)
    words = [word for name, target in zip(names, targets, strict=True)
             for word in ("-extract", name, target)]  # fmt: skip
    call("xorriso", "-osirrox", "on", "-indev", iso, *words)
    return targets
