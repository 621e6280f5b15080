"""What the target asks of its disks before it writes to them: each time, and before all else."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from payload.model.errors import TargetDiskError, VerifyError
from payload.replicate.receiver import Receiver

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


@pytest.mark.parametrize(("whole", "proven"), [(False, False), (True, False)])
def test_what_is_not_whole_or_not_proven_is_not_sealed(whole: bool, proven: bool) -> None:
    region = SimpleNamespace(name="disk 1 partition 1", method=None, pair=0)
    ledger = SimpleNamespace(whole=whole, proven=proven, region=region)
    disk = OtherDisk()
    receiver = a_receiver(disk, ledger)
    receiver._plan = cast(Any, SimpleNamespace(disks=(), verify=True))
    with pytest.raises(VerifyError):
        receiver.seal()
    assert disk.told == []
