"""The machines themselves: what the rehearsal relies on when something goes wrong."""

from pathlib import Path

import pytest

from tests.vm.accelerator import Accelerator
from tests.vm.hardware import Card, Drive, Hardware, Wire
from tests.vm.images import (
    MIB,
    ImageError,
    call,
    digest,
    look_at,
    make_blank,
    make_overlay,
    written_bytes,
)
from tests.vm.machine import Machine, MachineError, State

pytestmark = pytest.mark.vm

TCG = Accelerator.TCG
BARE = Hardware("bare", memory=64)


def test_a_machine_is_gone_afterwards(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Machine(BARE, tmp_path, TCG) as machine:
        process = Path("/proc", str(machine.pid))
        assert process.exists()
        assert machine.state is State.RUNNING
        raise ZeroDivisionError
    assert not process.exists()


def test_a_picture_is_taken(tmp_path: Path) -> None:
    with Machine(BARE, tmp_path, TCG) as machine:
        picture = machine.take_picture("start")
    assert picture is not None and picture.read_bytes().startswith(b"\x89PNG")


def test_silence_is_an_error(tmp_path: Path) -> None:
    with (
        Machine(BARE, tmp_path, TCG) as machine,
        pytest.raises(MachineError, match="bare did not say"),
    ):
        machine.wait_for("anything at all", 1.0)


def test_a_qemu_that_ended_is_no_power_off(tmp_path: Path) -> None:
    with Machine(BARE, tmp_path, TCG) as machine:
        call("kill", "-KILL", str(machine.pid))
        with pytest.raises(MachineError, match="gone instead of powering off"):
            machine.wait_for_power_off(30.0)
        with pytest.raises(MachineError, match="gone before it said"):
            machine.wait_for("anything at all", 30.0)


def test_a_qemu_that_refuses_says_why(tmp_path: Path) -> None:
    hardware = Hardware("broken", drives=(Drive(tmp_path / "missing.raw", "raw", "M"),))
    with (
        pytest.raises(MachineError, match=r"broken: .*missing\.raw"),
        Machine(hardware, tmp_path, TCG),
    ):
        pass


def test_a_wire_holds_two_machines(tmp_path: Path) -> None:
    wire = Path("/tmp", f"ugs-wire-{tmp_path.name}")
    ends = [
        Hardware(name, memory=64, cards=(Card(mac, wire=Wire(wire, listens)),))
        for name, mac, listens in (
            ("left", "52:54:00:00:00:01", True),
            ("right", "52:54:00:00:00:02", False),
        )
    ]
    try:
        with Machine(ends[0], tmp_path, TCG) as left, Machine(ends[1], tmp_path, TCG) as right:
            assert (left.state, right.state) == (State.RUNNING, State.RUNNING)
    finally:
        wire.unlink(missing_ok=True)


def test_an_overlay_takes_the_writes(tmp_path: Path) -> None:
    base = make_blank(tmp_path / "base.raw", 4 * MIB)
    before = digest(base.path)
    overlay = make_overlay(base, tmp_path / "overlay.qcow2")
    assert written_bytes(overlay) == 0
    call("qemu-io", "-f", "qcow2", "-c", "write 1M 64k", overlay.path)
    assert written_bytes(overlay) == 64 << 10
    assert digest(base.path) == before


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="There is no disk image"):
        look_at(tmp_path / "none.img")
