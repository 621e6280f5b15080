"""Small cpio archives as an initramfs is made of them."""

from collections.abc import Mapping


def member(path: str, content: bytes, mode: int = 0o100644) -> bytes:
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    head += bytes(-len(head) % 4)
    return head + content + bytes(-len(content) % 4)


def archive(files: Mapping[str, bytes]) -> bytes:
    whole = b"".join(member(path, content) for path, content in files.items())
    return whole + member("TRAILER!!!", b"", 0)
