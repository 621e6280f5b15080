"""What the target asks of its disks before it writes to them: each time, and before all else."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.errors import DiskState, TargetDiskError, VerifyError
from payload.model.plan import Method
from payload.replicate import receiver as receiver_module
from payload.replicate.receiver import Receiver, _target_disk

GONE = "sda is no longer the disk that was looked at."


class OtherDisk:
    """Another disk is in its place by now. Remembers what it was told to do."""

    pair = SimpleNamespace(table=None)
    hardware = SimpleNamespace(id="serial:S", label="sda")

    def __init__(self) -> None:
        self.told: list[str] = []

    def recheck(self) -> None:
        raise TargetDiskError(GONE)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.told.append(name)


def a_receiver(disk: OtherDisk, *ledgers: Any) -> Receiver:
    plan = SimpleNamespace(disks=(), source=None, target=None)
    receiver = Receiver(
        cast(Any, None),
        cast(Any, SimpleNamespace(**vars(plan), regions=(), accounts=())),
        cast(Any, None),
        copy_id="c",
        connections=1,
        monitor=lambda _: None,
    )
    receiver._disks = [cast(Any, disk)]
    receiver._ledgers = list(ledgers)
    return receiver


def test_nothing_begins_on_another_disk() -> None:
    disk = OtherDisk()
    receiver = a_receiver(disk)
    with pytest.raises(TargetDiskError, match=GONE):
        receiver.begin()
    assert disk.told == [] and not receiver.opened


def test_nothing_is_sealed_on_another_disk() -> None:
    disk = OtherDisk()
    with pytest.raises(TargetDiskError, match=GONE):
        a_receiver(disk).seal()
    assert disk.told == []


@pytest.mark.parametrize(("whole", "proven"), [(False, False), (True, False), (False, True)])
def test_what_is_not_whole_or_not_proven_is_not_sealed(whole: bool, proven: bool) -> None:
    region = SimpleNamespace(name="disk 1 partition 1", method=None, pair=0)
    ledger = SimpleNamespace(whole=whole, proven=proven, region=region)
    disk = OtherDisk()
    receiver = a_receiver(disk, ledger)
    receiver._plan = cast(Any, SimpleNamespace(disks=(), verify=True))
    with pytest.raises(VerifyError):
        receiver.seal()
    assert disk.told == []


class Disk:
    """One of several, all of which write down what they are told."""

    def __init__(self, name: str, told: list[str], table: str = "") -> None:
        self.hardware = SimpleNamespace(id=name, label=name)
        self.pair = SimpleNamespace(table=SimpleNamespace(label=table) if table else None)
        self.target = name
        self.refuses = ""
        self._told = told

    def __getattr__(self, name: str) -> Any:
        def tell(*_: Any) -> None:
            self._told.append(f"{name} {self.hardware.id}")
            if name == self.refuses:
                raise TargetDiskError(f"{self.hardware.id} refuses.")

        return tell


def receiver_of(*disks: Disk, verify: bool = True, ledgers: Any = ()) -> Receiver:
    ends = {name: SimpleNamespace(id=name) for name in ("source", "target")}
    receiver = a_receiver(cast(Any, None), *ledgers)
    pairs = [SimpleNamespace(table=disk.pair.table, target=disk.target) for disk in disks]
    receiver._plan = cast(
        Any, SimpleNamespace(disks=pairs, regions=(), accounts=(), verify=verify, **ends)
    )
    receiver._disks = cast(Any, list(disks))
    receiver._ledgers = list(ledgers)
    return receiver


def test_every_disk_is_asked_and_marked_before_nothing_starts_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a table that could not be made is known before all that."""
    told = list[str]()
    monkeypatch.setattr(
        receiver_module, "rehearse_table", lambda _, __, disk: told.append(f"rehearse {disk}")
    )
    receiver = receiver_of(Disk("root", told, "gpt"), Disk("b", told, "dos"), Disk("c", told))
    states = [receiver.left]
    receiver.begin()
    states.append(receiver.left)
    assert told == [
        "rehearse root",
        *("recheck root", "recheck b", "recheck c"),
        *("put_mark root", "put_mark b", "put_mark c"),
        *("zero_first_sector c", "zero_first_sector b", "zero_first_sector root"),
    ]
    assert receiver.opened and states == [DiskState.UNTOUCHED, DiskState.UNFINISHED]


def test_disks_with_nothing_but_our_mark_are_left_as_they_were() -> None:
    told = list[str]()
    receiver = receiver_of(Disk("root", told), Disk("b", told))
    receiver.abandon()
    assert told == [], "it never began"
    receiver.begin()
    told.clear()
    receiver.abandon()
    assert told == ["restore b", "close b", "restore root", "close root"]
    assert not receiver.opened and receiver.left is DiskState.UNTOUCHED
    receiver.abandon()
    assert len(told) == 4, "a second time it does nothing"


def test_disks_with_content_of_the_copy_stay_marked() -> None:
    told = list[str]()
    receiver = receiver_of(Disk("root", told), Disk("b", told))
    receiver.begin()
    receiver._wrote = True
    told.clear()
    receiver.abandon()
    assert told == ["close b", "close root"]
    assert receiver.left is DiskState.UNFINISHED


def test_a_disk_that_cannot_be_put_back_holds_no_other_up() -> None:
    told = list[str]()
    root, other = Disk("root", told), Disk("b", told)
    receiver = receiver_of(root, other)
    receiver.begin()
    other.refuses = "restore"
    told.clear()
    with pytest.raises(TargetDiskError, match="b refuses"):
        receiver.abandon()
    assert told == ["restore b", "close b", "restore root", "close root"]
    assert receiver.left is DiskState.UNFINISHED


class Whole(SimpleNamespace):
    """The ledger of a region that is all there."""

    def __init__(self, method: Method, *, proven: bool = True, whole: bool = True) -> None:
        region = SimpleNamespace(name="a region", method=method, pair=0)
        super().__init__(region=region, whole=whole, proven=proven, settled=[])

    def items(self, *_: Any, **__: Any) -> list[str]:
        return ["its item"]

    def prove(self, item: str) -> None:
        self.settled.append(item)

    def report(self, _: str) -> None:
        return None


def test_the_root_s_disk_starts_last_of_all_and_what_it_starts_by_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiver_module, "settle_accounts", lambda *_: ())
    told, boot = list[str](), Whole(Method.BOOT, proven=False)
    disks = Disk("root", told, "gpt"), Disk("b", told, "dos"), Disk("c", told)
    receiver = receiver_of(*disks, ledgers=[boot])
    monkeypatch.setattr(receiver, "reports", lambda: ())
    receiver._open, receiver._wrote = True, True
    receiver._areas, receiver._heads = {0: b"root", 1: b"b"}, {2: bytearray(b"c")}
    receiver.seal()
    assert told == [
        *("recheck root", "recheck b", "recheck c"),
        *("drop_cache root", "clear_behind root", "drop_cache b", "clear_behind b"),
        *("drop_cache c", "clear_behind c"),
        *("write_gap_and_table b", "write_gap_and_table root"),
        *("write_head c", "write_boot_code b", "write_boot_code root"),
        *("check_boot_area root", "check_boot_area b"),
        *("close root", "close b", "close c"),
    ]
    assert boot.settled == ["its item"]
    assert not receiver.opened and receiver.left is DiskState.SEALED


@pytest.mark.parametrize(
    ("ledger", "verify"),
    [
        (Whole(Method.ALL), True),
        (Whole(Method.BOOT, proven=False), True),
        (Whole(Method.ALL, proven=False), False),
    ],
)
def test_what_is_whole_and_proven_as_far_as_the_plan_says_may_start(
    ledger: Whole, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receiver_of(Disk("root", []), verify=verify, ledgers=[ledger])
    monkeypatch.setattr(receiver, "reports", lambda: ())
    lacking = SimpleNamespace(disk="sda", missing=7, complete=False)
    settled = [SimpleNamespace(complete=True)]
    monkeypatch.setattr(receiver_module, "settle_accounts", lambda *_: settled)
    receiver._check_whole()
    settled.append(lacking)
    with pytest.raises(VerifyError, match="disk sda lacks 7 bytes"):
        receiver._check_whole()


@pytest.mark.parametrize(
    ("content", "blank"),
    [(None, False), (SimpleNamespace(blank=False), False), (SimpleNamespace(blank=True), True)],
)
def test_only_a_disk_that_was_seen_to_be_blank_counts_as_blank(content: Any, blank: bool) -> None:
    """What is on any other is compared before it is written over, and cleared behind the copy."""
    hardware = SimpleNamespace(rotational=False)
    pairs = [SimpleNamespace(target=SimpleNamespace(id=name)) for name in ("root", "b")]
    regions = [SimpleNamespace(pair=pair, start=10, size=size) for pair, size in ((0, 5), (1, 50))]
    inventory = SimpleNamespace(disk=lambda _: SimpleNamespace(hardware=hardware, content=content))
    plan, host = SimpleNamespace(disks=pairs, regions=regions), SimpleNamespace(blocks=None)
    made = [_target_disk(cast(Any, host), cast(Any, plan), n, cast(Any, inventory)) for n in (0, 1)]
    assert [(disk.blank, disk.end) for disk in made] == [(blank, 15), (blank, 60)]
