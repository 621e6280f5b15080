"""One disk of the target, from the first write to the last.

While a copy is under way the disk starts nothing: its first sector is zero, and our mark says
whose it is. Gap, table and boot code come last, the mark goes with the last but one write.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep

from payload.formats.disk.boot_area import with_table_of
from payload.formats.disk.unfinished_mark import MARK_OFFSET, MARK_SIZE, encode_mark
from payload.model.disk import BOOT_CODE_SIZE, MIB, Hardware, PartitionTable, Unfinished
from payload.model.errors import TargetDiskError, VerifyError
from payload.model.plan import DiskPair
from payload.replicate.chunks import aligned_buffer, read_exactly, write_exactly
from payload.replicate.spindle import Spindle
from payload.replicate.tables import check_table, write_table
from payload.system.host import Host

REOPEN_TRIES = 20
REOPEN_PAUSE = 0.5  # seconds
_ZEROS = aligned_buffer()
# An ext superblock is at 1024, LVM's label in one of the first four sectors (of 512 bytes), and
# that of XFS at 0: a power cut before these are written leaves no such thing.
_SUPERBLOCK_END = 4096
HEAD = 65536  # bytes kept in memory, so that a copy that never began leaves no trace


class TargetDisk:
    """Read and written at absolute offsets, whole sectors. Errors are TargetDiskError."""

    def __init__(
        self, host: Host, hardware: Hardware, pair: DiskPair, *, end: int, blank: bool
    ) -> None:
        """`end` is where the last region of the copy ends."""
        self.hardware = hardware
        self.end = end
        self.pair = pair
        self.blank = blank  # proven when it was looked at; nothing on it is worth a digest
        self._blocks = host.blocks
        self._host = host
        self._descriptor = -1
        self._head = b""
        self._spindle = Spindle(rotational=hardware.rotational)
        self._makes_zeros = True  # until it turns out that it does not

    # --- begin and end

    def recheck(self) -> None:
        """Is it still that very disk? The last look before the first write."""
        self._blocks.recheck(self.hardware)

    def put_mark(self, mark: Unfinished) -> None:
        """Make the disk writable, and mark it as ours and unfinished: beside what is on it."""
        self._blocks.set_writable(self.hardware.node)
        self._descriptor = self._blocks.open_to_write(self.hardware.node)
        self.recheck()  # the name may have gone to another device; from now on it cannot
        buffer = aligned_buffer(HEAD)
        self.read(buffer, 0)
        self._head = bytes(buffer)
        buffer[MARK_OFFSET : MARK_OFFSET + MARK_SIZE] = encode_mark(mark)
        self.write(buffer[self._mark_sector], self._mark_sector.start)
        self.flush()

    def zero_first_sector(self) -> None:
        """From here on nothing on it starts. The mark is on the medium by now: a power cut leaves
        what was there before beside it, or zeros that it explains."""
        self.write(aligned_buffer(HEAD)[: self.hardware.sector_size], 0)
        self.flush()

    def restore(self) -> None:
        """Undo what was done to the begin of the disk: nothing else was written. The mark goes
        last."""
        if self._head:
            buffer = aligned_buffer(HEAD)
            buffer[:] = self._head
            self.write(buffer[: self.hardware.sector_size], 0)
            self.flush()
            self.write(buffer[self._mark_sector], self._mark_sector.start)
            self.flush()

    def close(self) -> None:
        """Let go of the disk and put the write block back."""
        if self._descriptor >= 0:
            self._release()
        self._blocks.set_read_only(self.hardware.node)

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    # --- bytes

    def read(self, buffer: memoryview, offset: int) -> None:
        with self._told(f"read at byte {offset}"), self._spindle.turn(offset):
            read_exactly(self._descriptor, buffer, offset)

    def write(self, buffer: memoryview, offset: int) -> None:
        with self._told(f"written at byte {offset}"), self._spindle.turn(offset):
            write_exactly(self._descriptor, buffer, offset)

    def clear(self, offset: int, length: int) -> None:
        """Zeros there, at most a chunk of them, by the disk itself where it can."""
        if self._makes_zeros:
            with suppress(OSError):  # if it is more than that, writing will tell
                self._blocks.zero(self._descriptor, offset, length)
                return
            self._makes_zeros = False
        self.write(_ZEROS[:length], offset)

    @property
    def discard_step(self) -> int:
        """Bytes; 0 when the disk cannot discard."""
        return self._blocks.discard_step(self.hardware.node)

    def discard(self, offset: int, length: int) -> None:
        """Nobody needs what is there. Raises OSError."""
        self._blocks.discard(self._descriptor, offset, length)

    def flush(self) -> None:
        """What was written is on the medium when this returns."""
        with self._told("flushed"):
            os.fsync(self._descriptor)

    def drop_cache(self) -> None:
        """Flush, and make sure that the next read comes from the medium."""
        self.flush()
        self._blocks.drop_cache(self.hardware.node)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "it ends there"
            raise TargetDiskError(
                f"Target disk {self.hardware.label} could not be {what}: {why}. Replace the disk."
            ) from error

    # --- the boot area, last of all

    def clear_behind(self) -> None:
        """Zero what lies right behind the copy and the last MiB of the disk: RAID and GPT keep
        signatures there, and those of what was on the disk before must not come back to life."""
        if self.blank:
            return
        size = self.hardware.size
        zeros = aligned_buffer(MIB)
        for start in {self.end, max(self.end, size - MIB)}:
            length = min(MIB, size - start)
            if length:
                self.write(zeros[:length], start)

    def write_gap_and_table(self, area: bytes) -> None:
        """All in front of the first partition but the boot code, which stays zero, and the mark,
        which stays where it is. `area` is the boot area's content, without a GPT."""
        assert self.pair.table is not None
        sector = self.hardware.sector_size
        buffer, _ = self._merged(area)
        self._keep_mark(buffer)
        is_gpt = self.pair.table.label == "gpt"
        buffer[: sector if is_gpt else BOOT_CODE_SIZE] = bytes(sector if is_gpt else BOOT_CODE_SIZE)
        self.write(buffer, 0)
        self.flush()
        if is_gpt:
            self._write_gpt(self.pair.table)

    def _write_gpt(self, table: PartitionTable) -> None:
        with self._reserved():
            self._release()
            write_table(self._host, self.hardware.node, table, self.hardware.sector_size)
            self._descriptor = self._reopen()
        self.recheck()  # for a moment anybody could begin to use it

    @contextmanager
    def _reserved(self) -> Iterator[None]:
        """sfdisk opens the disk itself, by name, and some versions want it for themselves. As long
        as somebody else has it open to read, the kernel gives neither its name nor its number to
        another device, whatever happens to this one (drivers/scsi/sd.c, scsi_disk_release)."""
        with self._told("kept open"):
            reading = self._blocks.open_to_read(self.hardware.node)
        try:
            yield
        finally:
            os.close(reading)

    def _reopen(self) -> int:
        """udev looks at a disk whenever somebody wrote to it, and may have it for a moment."""
        for _ in range(REOPEN_TRIES):
            try:
                return self._blocks.open_to_write(self.hardware.node)
            except TargetDiskError:
                sleep(REOPEN_PAUSE)
        return self._blocks.open_to_write(self.hardware.node)

    def write_boot_code(self, area: bytes) -> None:
        """All of the area, the mark last of all."""
        self.drop_cache()
        whole, _ = self._merged(area)
        self._write_before_mark(whole, self.hardware.sector_size)

    def write_head(self, content: bytes) -> None:
        """The begin of a disk without a table, held back until all else is there. Raises
        VerifyError when it reads back other than it was written."""
        buffer = aligned_buffer(len(content))
        buffer[:] = content
        self._write_before_mark(buffer, _SUPERBLOCK_END)
        self.read(buffer, 0)
        if bytes(buffer) != content:
            raise VerifyError(
                f"The begin of target disk {self.hardware.label} reads back other than it was "
                "written. Replace the disk."
            )

    def read_head(self, size: int) -> bytes:
        """The begin of a disk without a table as it is now, without what `put_mark` wrote."""
        buffer = aligned_buffer(size)
        self.read(buffer, 0)
        buffer[self._mark_sector] = self._head[self._mark_sector]
        return bytes(buffer)

    def _write_before_mark(self, whole: memoryview, first: int) -> None:
        """The rest, then the first bytes, by which it is somebody's, and what the mark stands for
        last of all: whatever a power cut leaves is marked, or whole."""
        marked = aligned_buffer(len(whole))
        marked[:] = whole
        has_mark = self._keep_mark(marked)
        self.write(marked[first:], first)
        self.flush()
        self.write(whole[:first], 0)
        if has_mark:
            self.flush()
            self.write(whole[self._mark_sector], self._mark_sector.start)
        self.drop_cache()

    def check_boot_area(self, area: bytes) -> None:
        """Read it back. Raises VerifyError, or TargetDiskError when the table differs."""
        assert self.pair.table is not None
        buffer, now = self._merged(area)
        if bytes(buffer) != now:
            raise VerifyError(
                f"The boot area of target disk {self.hardware.label} reads back other than it "
                "was written. Replace the disk."
            )
        sector_size = self.hardware.sector_size
        check_table(self._host, self.hardware.node, self.pair.table, sector_size)

    def _merged(self, area: bytes) -> tuple[memoryview, bytes]:
        """The area with the table that is on the disk now, and the area as it is now."""
        assert self.pair.table is not None
        buffer = aligned_buffer(len(area))
        self.read(buffer, 0)
        now = bytes(buffer)
        buffer[:] = with_table_of(area, now, self.pair.table, self.hardware.sector_size)
        return buffer, now

    def _keep_mark(self, area: memoryview) -> bool:
        """Put the mark, as it is on the disk, into a boot area that is to be written; False when
        the first partition lies there, and its content has taken the mark's place."""
        if self._mark_sector.stop > len(area):
            return False
        self.read(area[self._mark_sector], self._mark_sector.start)
        return True

    @property
    def _mark_sector(self) -> slice:
        sector = self.hardware.sector_size
        start = MARK_OFFSET // sector * sector
        return slice(start, start + sector)
