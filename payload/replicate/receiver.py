"""The target's half of the stream, as the steps of a copy in the order they are taken.

    begin        disks writable, nothing on them starts, our mark on each
    fetch_maps   which chunks there are
    discard_free what is free on the source, so that thin disks stay thin
    fetch        all but the first chunk of each region; may be repeated when a link broke
    verify       all that was written, read back from the medium (as far as `fetch` did not yet)
    write_heads  the first chunks too, proven likewise; into memory the boot areas, and the first
                 MiB of disks without a table, which begin where our mark is
    finishing    (the session makes the copy boot: file systems can be mounted through this)
    seal         gap, partition table, boot code, what was held back: the disk starts now

What was done is kept in ledgers, so a step that ended with LinkError is simply called again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from time import time
from typing import Protocol, cast

from payload.decide.account import settle_accounts
from payload.model.disk import Unfinished
from payload.model.errors import DiskState, PeerError, VerifyError
from payload.model.event import Level, Monitor, Note
from payload.model.inventory import Inventory
from payload.model.message import Chunk, Encoding, MapAnswer, MapRequest, Message
from payload.model.plan import CHUNK_SIZE, Method, Plan
from payload.model.report import RegionReport
from payload.replicate.backlog import Backlog
from payload.replicate.chunks import aligned_buffer, digest_of
from payload.replicate.crew import work_together
from payload.replicate.discarding import discard_free
from payload.replicate.fetching import Fetcher, Take
from payload.replicate.lanes import FindLinks, Lanes, OpenData
from payload.replicate.ledger import Item, Ledger, State
from payload.replicate.limiter import Account
from payload.replicate.meter import Meter
from payload.replicate.schedule import Schedule
from payload.replicate.sender import Line
from payload.replicate.tables import rehearse_table
from payload.replicate.target_disk import TargetDisk
from payload.replicate.work import Work
from payload.system.held_heads import hold_heads
from payload.system.host import Blocks, Host


class Control(Protocol):
    """What is needed of the control conversation."""

    def send(self, message: Message) -> None: ...

    def receive(self, timeout: float | None) -> Message: ...


class Receiver:
    """One copy, from the first write to the sealed disks.

    `connections` is the number of data connections over each link, and of threads that verify;
    when there are more disks than that, each gets one. Memory: 41 MiB for each TiB of content, a
    MiB for each disk, and some MiB for each connection.
    """

    def __init__(
        self,
        host: Host,
        plan: Plan,
        inventory: Inventory,
        *,
        copy_id: str,
        connections: int,
        monitor: Monitor,
        clock: Callable[[], float] = time,
    ) -> None:
        self._host = host
        self._plan = plan
        self._copy_id = copy_id
        self._connections = connections
        self._monitor = monitor
        self._clock = clock
        self._disks = [
            _target_disk(host, plan, index, inventory) for index in range(len(plan.disks))
        ]
        self._ledgers = [
            Ledger(region, plan.disks[region.pair].target.sector_size) for region in plan.regions
        ]
        self._account = Account()
        self._areas: dict[int, bytes] = {}  # boot areas, by pair
        self._heads: dict[int, bytearray] = {}  # begins of disks without a table, by pair
        self._wrote = False  # more than our mark
        self._sealing = False
        self._marked: set[int] = set()  # disks that may not be what they were, by pair
        self._open = False
        self._interrupted = False
        self._halt: Callable[[], None] = _nothing  # what ends the work that goes on now

    # --- begin

    def begin(self) -> None:
        """Look at every disk a last time, mark each, and only then see that nothing starts: the
        root's disk, by which the others are known as our copy, last. Raises TargetDiskError, and
        PlanError when a partition table could not be made; in both cases nothing was written yet.
        """
        for pair in self._plan.disks:
            if pair.table is not None and pair.table.label == "gpt":
                rehearse_table(self._host, pair.table, pair.target)
        self.recheck()
        self._open = True
        for index, disk in enumerate(self._disks):
            self._marked.add(index)
            disk.put_mark(self._mark(disk))
        for disk in reversed(self._disks):
            disk.zero_first_sector()

    @property
    def opened(self) -> bool:
        """True from the first write to the last."""
        return self._open

    def recheck(self) -> None:
        """Are the disks still those very devices, and idle? Asked whenever the work was
        interrupted, before it writes on. Raises TargetDiskError."""
        for disk in self._disks:
            disk.recheck()

    def start_over(self) -> None:
        """Forget what was fetched: the source was started anew and may hold other content now.
        What equals it on the disks is found again by its digest, and not sent again."""
        for ledger in self._ledgers:
            ledger.start_over()
        for disk in self._disks:
            disk.blank = False
        self._areas.clear()
        self._heads.clear()

    def _mark(self, disk: TargetDisk) -> Unfinished:
        plan = self._plan
        return Unfinished(
            self._copy_id, plan.source.id, plan.target.id, disk.hardware.id, int(self._clock())
        )

    def abandon(self) -> None:
        """Leave the disks read-only: as they were when nothing but our mark was written, else
        marked as unfinished. After `seal`, and a second time, it does nothing. Raises
        TargetDiskError when a disk is none of that; all others are."""
        if not self._open:
            return
        self._open = False
        with ExitStack() as stack:
            for index, disk in enumerate(self._disks):
                stack.callback(disk.close)
                if not self._wrote:
                    stack.callback(self._restore, index)

    def _restore(self, index: int) -> None:
        self._disks[index].restore()
        self._marked.discard(index)

    @property
    def left(self) -> DiskState:
        """State of the target's disks. Final once `leave_disks` of the session was called."""
        if self._sealing:
            return DiskState.SEALED
        return DiskState.UNFINISHED if self._marked else DiskState.UNTOUCHED

    # --- maps

    def fetch_maps(self, control: Control) -> None:
        """Ask for the chunks of every region not known yet. Raises LinkError, PeerError."""
        for ledger in self._ledgers:
            if not ledger.mapped:
                ledger.forget_map()
                control.send(MapRequest(ledger.region.index))
                while not ledger.mapped:
                    self._take_map(ledger, control.receive(None))

    def _take_map(self, ledger: Ledger, message: Message) -> None:
        if not isinstance(message, MapAnswer):
            raise PeerError(f"The source said {type(message).__name__} instead of a map.")
        ledger.add(message)
        if message.note:
            self._monitor(Note(message.note, Level.WARNING))

    def discard_free(self) -> None:
        """Tell the disks what is free on the source, so that thin ones stay thin. Whatever goes
        wrong with that is a note: the copy never relies on it. Raises nothing else."""
        assert self._open
        self._wrote = True
        work_together(
            [partial(self._discard_free_of, index) for index in range(len(self._disks))],
            lambda: None,
        )

    def _discard_free_of(self, pair: int) -> None:
        ledgers = [ledger for ledger in self._ledgers if ledger.region.pair == pair]
        note = discard_free(self._disks[pair], ledgers)
        if note:
            self._monitor(Note(note))

    # --- content

    def fetch(self, open_data: OpenData, find_links: FindLinks = tuple) -> None:
        """Fetch and write what is missing of all but the heads; begin to read it back.

        `open_data` opens a connection over the first link; `find_links` is asked again and again
        for further ones. Raises LinkError when the last link broke: call again. Raises
        TargetDiskError at the first write that fails, PeerError, and VerifyError.
        """
        self._fetch(open_data, find_links, self._workers, head=False)

    def write_heads(self, open_data: OpenData) -> None:
        """Fetch, write and prove the first chunk of each region. Boot areas are kept for `seal`.
        Raises as `fetch` and `verify` do."""
        for index, disk in enumerate(self._disks):
            if disk.pair.table is None and index not in self._heads:
                self._heads[index] = bytearray(disk.read_head(CHUNK_SIZE))
        self._fetch(open_data, tuple, 1, head=True)
        self._prove(head=True)

    def _fetch(
        self, open_data: OpenData, find_links: FindLinks, connections: int, *, head: bool
    ) -> None:
        for disk in self._disks:
            disk.drop_cache()  # what is found to be equal counts as read from the medium
        schedule = self._schedule(self._ledgers, State.MISSING, head=head)
        total = sum(ledger.size for ledger in self._ledgers)
        meter = Meter("copy", total, self._all_done(), self._account, self._monitor)

        backlog = Backlog()

        def done(item: Item, chunk: Chunk) -> None:
            schedule.done(item)
            self._record(item, chunk, meter)
            if not head and chunk.encoding is not Encoding.SAME:
                self._hand_over(item, backlog)

        def fetcher(line: Line) -> Fetcher:
            return Fetcher(
                line,
                self._held,
                self._store,
                self._clear,
                done,
                schedule.put_off,
                self._account,
            )

        lanes = Lanes(Work(schedule), fetcher, connections, backlog, self._monitor)
        with self._interruptible(lanes.interrupt):
            lanes.add(open_data)
            lanes.crew.start(lambda: self._prove_behind(backlog))
            lanes.crew.start(lambda: lanes.look_for_more(find_links))
            lanes.crew.wait()

    def interrupt(self) -> None:
        """For good, from any thread: nothing more is fetched or read back. What goes on now ends
        soon, as if done, or as if the link was lost."""
        self._interrupted = True
        self._halt()

    @contextmanager
    def _interruptible(self, halt: Callable[[], None]) -> Iterator[None]:
        self._halt = halt
        if self._interrupted:  # only asked now, lest it comes between
            halt()
        try:
            yield
        finally:
            self._halt = _nothing

    def _schedule(self, ledgers: Sequence[Ledger], state: State, *, head: bool) -> Schedule:
        labels = [pair.source.label for pair in self._plan.disks]
        return Schedule(ledgers, labels, state, head=head)

    @property
    def _workers(self) -> int:
        """Threads that fetch or read back: at least one for each disk."""
        return max(self._connections, len(self._disks))

    def _all_done(self) -> int:
        return sum(ledger.done for ledger in self._ledgers)

    def _held(self, item: Item, buffer: memoryview) -> bytes:
        """The digest of what the disk holds there: never one that was stored earlier."""
        region = item.ledger.region
        disk = self._disks[region.pair]
        if disk.blank or region.method is Method.BOOT or self._is_held_back(item):
            return b""  # the begin of a disk is not what it was since `begin`
        with self._account.target_disk():
            disk.read(buffer, region.start + item.offset)
        with self._account.target_processor():
            return digest_of(buffer)

    def _store(self, item: Item, content: memoryview) -> None:
        region = item.ledger.region
        if region.method is Method.BOOT:
            self._areas[region.pair] = bytes(content)
            return
        self._wrote = True
        if self._is_held_back(item):
            self._heads[region.pair][item.offset : item.offset + item.length] = content
            return
        with self._account.target_disk():
            self._disks[region.pair].write(content, region.start + item.offset)

    def _clear(self, item: Item, content: memoryview) -> None:
        """A disk that makes the zeros itself is believed only because they are read back."""
        region = item.ledger.region
        is_kept = region.method is Method.BOOT or self._is_held_back(item)
        if is_kept or not self._plan.verify:
            self._store(item, content)
            return
        self._wrote = True
        with self._account.target_disk():
            self._disks[region.pair].clear(region.start + item.offset, item.length)

    def _is_held_back(self, item: Item) -> bool:
        """The first MiB of content on a whole disk goes where our mark is: it comes last."""
        region = item.ledger.region
        return self._disks[region.pair].pair.table is None and item.offset < CHUNK_SIZE

    def _record(self, item: Item, chunk: Chunk, meter: Meter) -> None:
        ledger = item.ledger
        ledger.record(item, chunk)
        sent = sum(one.sent for one in self._ledgers)
        meter.add(ledger, ledger.done, ledger.size, item.length, sent)

    # --- proof

    def verify(self) -> None:
        """Read back from the medium all that was written, and compare, unless the plan says not
        to. Raises VerifyError. What was the same already was compared when it was read by
        `fetch`."""
        if self._plan.verify:
            self._prove(head=False)

    def _prove(self, *, head: bool) -> None:
        for disk in self._disks:
            disk.drop_cache()
        on_disk = [one for one in self._ledgers if one.region.method is not Method.BOOT]
        schedule = self._schedule(on_disk, State.WRITTEN, head=head)
        unproven = self._all_done() - sum(ledger.read_back for ledger in self._ledgers)
        meter = Meter("verify", unproven, 0, self._account, self._monitor)
        with self._interruptible(schedule.stop):
            work_together(
                [partial(self._prove_items, schedule.hand(), meter) for _ in range(self._workers)],
                schedule.stop,
            )

    def _prove_items(self, take: Take, meter: Meter) -> None:
        buffer = aligned_buffer()
        account = self._account
        while (item := take()) is not None:
            self._prove_item(item, buffer, account)
            ledger = item.ledger
            meter.add(ledger, ledger.read_back, ledger.done, item.length, 0)

    def _prove_item(self, item: Item, buffer: memoryview, account: Account) -> None:
        region = item.ledger.region
        content = buffer[: item.length]
        if self._is_held_back(item):  # `seal` writes it and reads it back
            content[:] = self._heads[region.pair][item.offset : item.offset + item.length]
        else:
            with account.target_disk():
                self._disks[region.pair].read(content, region.start + item.offset)
        with account.target_processor():
            digest = digest_of(content)
        if digest != item.ledger.digest(item):
            raise VerifyError(
                f"Target disk {self._disks[region.pair].hardware.label} reads back other than "
                f"it was written: {region.name}, chunk at byte {item.offset}. "
                "Replace the disk."
            )
        item.ledger.prove(item)

    def _hand_over(self, item: Item, backlog: Backlog) -> None:
        """Only disks without moving heads read and write at the same time; boot areas are not on
        their disk yet."""
        region = item.ledger.region
        rotating = self._disks[region.pair].hardware.rotational
        if self._plan.verify and not rotating and region.method is not Method.BOOT:
            backlog.add(item)

    def _prove_behind(self, backlog: Backlog) -> None:
        """Read back what was written, some way behind those who write."""
        buffer = aligned_buffer()
        while batch := backlog.take():
            for pair in sorted({item.ledger.region.pair for item in batch}):
                self._disks[pair].drop_cache()
            for item in batch:
                if backlog.over:
                    return
                self._prove_item(item, buffer, Account())  # beside the others, it holds up nobody

    # --- the end

    @contextmanager
    def finishing(self) -> Iterator[Host]:
        """The host by which the copy's file systems are mounted before `seal`: what is held back
        lies over its disk, and what is changed there is written by `seal`."""
        nodes = {index: self._disks[index].hardware.node for index in self._heads}
        heads = {node: bytes(self._heads[index]) for index, node in nodes.items()}
        with hold_heads(self._host.blocks, heads) as blocks:
            yield replace(self._host, blocks=cast(Blocks, blocks)) if heads else self._host
            for index, node in nodes.items():
                self._heads[index][:] = blocks.read(node)

    def seal(self) -> None:
        """Make the disks start: gap and table on all of them, then the boot code, or the begin of
        content without a table, the disk of the root file system last. Raises TargetDiskError,
        VerifyError; before the very end the disks are still marked as unfinished."""
        self._check_whole()
        self.recheck()
        with_table = [
            (disk, self._areas[index])
            for index, disk in enumerate(self._disks)
            if disk.pair.table is not None
        ]
        for disk in self._disks:
            disk.drop_cache()
            disk.clear_behind()
        for disk, area in reversed(with_table):
            disk.write_gap_and_table(area)
        self._sealing = True
        for index, disk in reversed([*enumerate(self._disks)]):
            if index in self._areas:
                disk.write_boot_code(self._areas[index])
            else:
                disk.write_head(bytes(self._heads[index]))
        for disk, area in with_table:
            disk.check_boot_area(area)
        self._prove_boot_areas()
        self._open = False
        for disk in self._disks:
            disk.close()

    def _check_whole(self) -> None:
        """Whatever the steps before did: nothing starts that lacks a chunk, or a proof."""
        for ledger in self._ledgers:
            region = ledger.region
            is_proven = ledger.proven or region.method is Method.BOOT or not self._plan.verify
            if not (ledger.whole and is_proven):
                raise VerifyError(
                    f"Target disk {self._disks[region.pair].hardware.label} does not hold all of "
                    f"{region.name}, proven to be equal."
                )
        for account in settle_accounts(self._plan, self.reports()):
            if not account.complete:
                raise VerifyError(
                    f"The copy of disk {account.disk} lacks {account.missing} bytes of what the "
                    "plan says is copied."
                )

    def _prove_boot_areas(self) -> None:
        for ledger in self._ledgers:
            for item in ledger.items(State.WRITTEN, head=True):
                ledger.prove(item)

    def reports(self) -> tuple[RegionReport, ...]:
        """The figures of every region, in the order of the plan."""
        pairs = self._plan.disks
        return tuple(
            ledger.report(pairs[ledger.region.pair].target.label) for ledger in self._ledgers
        )


def _nothing() -> None:
    """There is no work that could be ended."""


def _target_disk(host: Host, plan: Plan, index: int, inventory: Inventory) -> TargetDisk:
    pair = plan.disks[index]
    disk = inventory.disk(pair.target.id)
    blank = disk.content is not None and disk.content.blank
    end = max(one.start + one.size for one in plan.regions if one.pair == index)
    return TargetDisk(host, disk.hardware, pair, end=end, blank=blank)
