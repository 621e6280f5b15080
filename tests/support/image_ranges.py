"""Ranges of image files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageRange:
    """Bytes."""

    image: Path
    start: int
    size: int

    def within(self, start: int, size: int) -> "ImageRange":
        return ImageRange(self.image, self.start + start, size)

    def read(self, length: int = -1) -> bytes:
        with self.image.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size if length < 0 else length)

    def write(self, content: bytes, offset: int = 0) -> None:
        assert offset + len(content) <= self.size
        put(self.image, self.start + offset, content)


def put(image: Path, place: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        file.write(content)
