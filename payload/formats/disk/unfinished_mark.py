"""The mark of an unfinished copy: one sector that says "ours, and not done".

It lies in the gap before the first partition, behind the places where MBR boot code and a GPT
keep theirs (32 KiB less two sectors), and is replaced by the source's own bytes when the boot
area is written, last of all.

    16 bytes  magic
     2 bytes  format, little endian
     8 bytes  started_at, little endian
     4 times  1 byte length, then UTF-8: copy_id, source_id, target_id, disk_id
              zeros
    32 bytes  BLAKE3 of all before
"""

import struct

from blake3 import blake3

from payload.model.disk import Unfinished

MARK_OFFSET = 31744  # bytes from the start of the disk: LBA 62 at 512 bytes
MARK_SIZE = 512
_MAGIC = b"UGS-FAILOVER-CPY"
_FORMAT = 1
_HEAD = struct.Struct("<16sHQ")
_BODY = MARK_SIZE - 32
_LONGEST = 255  # bytes of one name


def encode_mark(mark: Unfinished) -> bytes:
    """The sector. Raises ValueError when the names do not fit: none we make is that long."""
    names = (mark.copy_id, mark.source_id, mark.target_id, mark.disk_id)
    packed = [name.encode("utf-8", "surrogateescape") for name in names]
    body = _HEAD.pack(_MAGIC, _FORMAT, mark.started_at)
    if any(len(name) > _LONGEST for name in packed):
        raise ValueError(f"a name is longer than {_LONGEST} bytes: {mark}")
    body += b"".join(bytes([len(name)]) + name for name in packed)
    if len(body) > _BODY:
        raise ValueError(f"the names do not fit into {MARK_SIZE} bytes: {mark}")
    body = body.ljust(_BODY, b"\0")
    return body + blake3(body).digest()


def decode_mark(sector: bytes) -> Unfinished | None:
    """The mark in a sector, or None: not ours, damaged, or of a format we do not know."""
    body, digest = sector[:_BODY], sector[_BODY:]
    if len(sector) != MARK_SIZE or blake3(body).digest() != digest:
        return None
    magic, version, started_at = _HEAD.unpack_from(body)
    if magic != _MAGIC or version != _FORMAT:
        return None
    names: list[str] = []
    position = _HEAD.size
    while len(names) < 4:
        end = position + 1 + body[position]
        names.append(body[position + 1 : end].decode("utf-8", "surrogateescape"))
        position = end
        if position >= _BODY and len(names) < 4:
            return None
    copy_id, source_id, target_id, disk_id = names
    return Unfinished(copy_id, source_id, target_id, disk_id, started_at)
