"""The main job, once, as a person runs it: everything else is judged by its report."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from payload.decide.role import decide_role
from payload.identify.inventory import take_inventory
from payload.model.inventory import Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.role import Role
from payload.model.settings import Settings
from payload.system.command import run
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from payload.system.power import LinuxPower
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.vm.accelerator import Accelerator
from tests.vm.conftest import PROJECT
from tests.vm.images import as_raw, look_at
from tests.vm.rehearse import Task, rehearse

pytestmark = [pytest.mark.vm, pytest.mark.pair, pytest.mark.root]


@pytest.fixture(scope="module")
def report(iso: Path, accelerator: Accelerator) -> dict[str, Any]:
    """The proof itself is tried on disk images (`tests/integration/test_boot_proof.py`)."""
    output = PROJECT / "build" / "rehearsal"
    rehearse(Task(iso, output, accelerator), print)
    document: dict[str, Any] = json.loads((output / "report.json").read_text())
    return document


def test_all_of_it_is_right(report: dict[str, Any]) -> None:
    assert report["problems"] == []
    assert report["result"] == "ok"


def test_the_source_is_what_it_was(report: dict[str, Any]) -> None:
    assert report["source_unchanged"] is True


def test_every_region_was_verified(report: dict[str, Any]) -> None:
    assert report["verified"] is True
    systems = [one["file_system"] for one in report["partitions"] if one["file_system"]]
    assert sorted(systems) == ["ext3", "ext4", "swap", "xfs"]
    assert all(one["used"] > 0 and one["verified"] for one in report["partitions"])


def test_a_journal_that_was_not_replayed_is_copied_with_all_that_may_belong_to_it(
    report: dict[str, Any],
) -> None:
    """The sample server lost its power while it wrote to /boot: its map cannot be trusted."""
    boot = next(one for one in report["partitions"] if one["file_system"] == "ext3")
    assert boot["used"] == boot["total"]


def test_only_listed_files_differ_and_nothing_was_left_out(report: dict[str, Any]) -> None:
    changed = {path for one in report["comparisons"] for path in one["changed_files"]}
    assert "etc/udev/rules.d/z25_persistent-net.rules" in changed
    assert "var/lib/ugs-failover/copy.json" in changed
    assert sum(one["files"] for one in report["comparisons"]) > 10000


def test_the_copy_says_who_it_is(report: dict[str, Any]) -> None:
    assert report["copy_booted"] is True
    assert report["host_name"] == "groupware"
    assert report["eth0_mac_is_target"] is True
    assert report["files_failed"] == 0
    assert report["files_ok"] > 10000


def test_without_virtualization_the_copy_is_not_started(report: dict[str, Any]) -> None:
    proof = report["payload"]["boot_proof"]
    assert proof["verdict"] == "skipped"
    assert "this machine's processor offers no virtualization" in proof["why"]
    assert report["payload"]["warnings"] == []


def test_the_finished_copy_is_unused_and_may_be_refreshed(report: dict[str, Any]) -> None:
    left = sorted((PROJECT / "build/rehearsal").glob("target*.raw"))
    decision = decide_role(_look_at(report, left), Settings())
    assert (decision.role, decision.rule) == (Role.TARGET, "unused copy")


def test_the_copy_that_ran_is_never_overwritten_unasked(
    report: dict[str, Any], tmp_path: Path
) -> None:
    """What the payload says of its disks when the medium is booted there the next time."""
    overlays = [look_at(PROJECT / "build/rehearsal" / f"copy{number}.qcow2") for number in range(2)]
    disks = [as_raw(one, tmp_path / f"{number}.raw") for number, one in enumerate(overlays)]
    decision = decide_role(_look_at(report, disks), Settings())
    assert (decision.role, decision.rule) == (Role.UNDECIDED, "used copy")
    assert decision.permissions == ()
    assert re.search(r"started first on 20\d\d-\d\d-\d\d", " ".join(decision.reasons))


def _look_at(report: dict[str, Any], images: Sequence[Path]) -> Inventory:
    """What the payload sees of the target with these disks."""
    disks = [ImageDisk(path, serial=f"TGT{number:05}") for number, path in enumerate(images)]
    identity = MachineIdentity(report["payload"]["target"]["id"])
    board: Any = SimpleNamespace(
        identity=lambda macs: identity, firmware=lambda: Firmware.BIOS, memory=lambda: 0
    )
    nothing: Any = SimpleNamespace(cards=lambda: ())
    blocks = ImageBlocks(disks)
    host = Host(run, blocks, LinuxMounts(), board, LinuxPower(), nothing, nothing, nothing)
    return take_inventory(host, "", 0)
