"""Finished copies started once in real machines, emulated: how far they come, and that nothing of
it is on their disks."""

import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from payload.decide.disk_verdict import Finding
from payload.decide.disk_verdict import judge as find_verdicts
from payload.finish.boot.proof import Patience, prove_boot, warning_of
from payload.model.disk import Disk
from payload.model.inventory import Inventory
from payload.model.machine import Firmware, MachineIdentity
from payload.model.marker import MachineReference
from payload.model.plan import CopyMode, DiskPair, Method, Plan, PlannedDisk, Region
from payload.model.report import BootProof, BootVerdict, Result
from payload.system.command import run
from payload.system.emulator import USER, Controller, LinuxEmulator, VirtualDisk, VirtualMachine
from payload.system.host import Host
from payload.system.mounts import LinuxMounts
from tests.soak import look_at_target
from tests.support.bootable_disk import HOST_NAME, Bootable, make_bootable
from tests.support.cpio_archives import archive
from tests.support.image_blocks import ImageBlocks, ImageDisk
from tests.support.machine_bench import SOURCE_ID, TARGET_ID, Bench, content_digest
from tests.support.network_namespaces import network
from tests.support.server_image import MIB, make_image

UNUSED: Any = None


class QuickEnough(LinuxEmulator):
    """Emulated, but what these tests start is small: where it stops, it stops."""

    def hindrance(self) -> str:
        return ""


QUICK = QuickEnough(accelerated=False)
PATIENCE = 240.0  # seconds; an emulated processor beside other tests
SHORT = 25.0  # seconds, where it has to come to an end that never comes


def prove(
    server: Bootable,
    firmware: Firmware,
    limit: float,
    emulator: LinuxEmulator = QUICK,
) -> tuple[BootProof, Plan]:
    """The proof, with the disk's content as it was before and after."""
    blocks = ImageBlocks([ImageDisk(server.path, serial="T0")])
    host = Host(run, blocks, LinuxMounts(), UNUSED, UNUSED, UNUSED, UNUSED, emulator)
    disks = tuple(Disk(found) for found in blocks.find())
    target = Inventory(MachineIdentity("b" * 32), firmware, (), disks)
    plan = _plan(server, target)
    before = content_digest(server.path)
    proof = prove_boot(host, plan, target, True, Patience(limit, 0.0, limit))
    assert content_digest(server.path) == before
    assert not blocks.opened_for_writing
    return proof, plan


def _plan(server: Bootable, target: Inventory) -> Plan:
    hardware = target.disks[0].hardware
    planned = PlannedDisk(hardware.id, hardware.label, hardware.size, 512)
    root = server.table.partitions[-1]
    regions = (
        Region(0, 0, 0, 0, 1 << 20, Method.BOOT),
        Region(1, 0, root.number, root.start, root.size, Method.USED, "ext4"),
    )
    pair = DiskPair(replace(planned, id="serial:S0"), planned, "", server.table)
    source = MachineReference("a" * 32, "Paper source", HOST_NAME)
    here = MachineReference("b" * 32, "Paper target")
    return Plan(source, here, CopyMode.USED, (pair,), regions, root=1)


@pytest.mark.parametrize("firmware", list(Firmware))
def test_a_copy_that_comes_up(tmp_path: Path, firmware: Firmware) -> None:
    server = make_bootable(tmp_path / "disk.img", firmware)
    proof, plan = prove(server, firmware, PATIENCE)
    assert proof.verdict is BootVerdict.LOGIN, proof
    assert proof.why == f"It said that it is up, as {HOST_NAME}."
    assert proof.controller == "a SATA (AHCI) controller"  # the one its initramfs has a driver for
    assert "WROTE" in proof.serial  # into the overlay: `prove` sees that the disk did not change
    assert base64.b64decode(proof.picture).startswith(b"\x89PNG")
    assert warning_of(proof, plan) == ""


def test_a_run_ends_with_the_proof_on_both_machines(bench: Bench, tmp_path: Path) -> None:
    """All of a run: the report says how far the copy came, and the copy counts as unused."""
    server = make_bootable(tmp_path / "server.img", Firmware.BIOS)
    blank = make_image(tmp_path / "blank.img", 100 * MIB)
    with network(2) as (first, second):
        source = bench.start(first, SOURCE_ID, [server.path])
        target = bench.start(second, TARGET_ID, [blank], emulates=True)
        theirs, ours = source.report(), target.report()
    assert ours.result is Result.OK, ours.sentence
    assert theirs == ours
    assert ours.boot_proof is not None
    assert ours.boot_proof.verdict is BootVerdict.LOGIN, ours.boot_proof
    assert "WROTE" in ours.boot_proof.serial
    inventory = look_at_target([blank])
    (verdict,) = find_verdicts(inventory, frozenset())
    assert verdict.finding is Finding.UNUSED_COPY


@pytest.mark.parametrize("controller", list(Controller))
def test_the_disk_is_open_for_reading_only(tmp_path: Path, controller: Controller) -> None:
    image = make_image(tmp_path / "disk.img", MIB)
    disks = (VirtualDisk(str(image)),)
    machine = VirtualMachine(Firmware.BIOS, disks, controller, 64 * MIB, 16 * MIB, "proof")
    with LinuxEmulator(accelerated=False).start(machine) as running:
        assert running.look().running
        flags = list(_open_flags(image))
    assert flags and all(flag & os.O_ACCMODE == os.O_RDONLY for flag in flags)


def test_qemu_is_nobody_and_its_disk_a_device(tmp_path: Path) -> None:
    """Whoever comes out of the machine owns nothing and can do nothing that root can."""
    image = make_image(tmp_path / "disk.img", MIB)
    node = run(["losetup", "--find", "--show", "--read-only", str(image)]).stdout.strip()
    try:
        disks = (VirtualDisk(node),)
        machine = VirtualMachine(
            Firmware.UEFI, disks, Controller.AHCI, 128 * MIB, 16 * MIB, "nobody-there"
        )
        with LinuxEmulator(accelerated=False).start(machine) as running:
            assert running.look().running
            assert running.picture()
            (status,) = _statuses("nobody-there")
    finally:
        run(["losetup", "--detach", node])
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(USER)}
    assert status["Groups"].split() == []
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def _statuses(word: str) -> Iterator[dict[str, str]]:
    """What the kernel says of each process that has this word in its command line."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (place / "cmdline").read_bytes():
                lines = (place / "status").read_text().splitlines()
                yield dict(line.split(":", 1) for line in lines)


def _open_flags(path: Path) -> Iterator[int]:
    """How each process has this file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                info = (link.parents[1] / "fdinfo" / link.name).read_text()
                flags = dict(line.split(":", 1) for line in info.splitlines())["flags"]
                yield int(flags, 8)


def without_kernel(tree: Path) -> None:
    for image in (tree / "boot").glob("vmlinuz-*"):
        image.unlink()


def without_initramfs(tree: Path) -> None:
    """The kernel then looks for a root file system that it has no driver for."""
    menu = tree / "boot/grub/grub.cfg"
    lines = menu.read_text().splitlines()
    menu.write_text("\n".join(line for line in lines if "initrd" not in line) + "\n")
    shutil.rmtree(tree / "lib/modules")  # else it would be told that no controller does


@pytest.mark.parametrize(
    ("spoil", "verdict", "sign"),
    [
        (without_initramfs, BootVerdict.KERNEL, "kernel ran"),
        (without_kernel, BootVerdict.LOADER, "no kernel"),
    ],
)
def test_a_copy_that_stops_on_the_way(
    tmp_path: Path, spoil: Callable[[Path], None], verdict: BootVerdict, sign: str
) -> None:
    server = make_bootable(tmp_path / "disk.img", Firmware.BIOS, spoil)
    proof, plan = prove(server, Firmware.BIOS, SHORT)
    assert (proof.verdict, proof.picture != "") == (verdict, True), proof
    assert sign in proof.why
    assert proof.why in warning_of(proof, plan)


def test_a_disk_without_boot_code(tmp_path: Path) -> None:
    server = make_bootable(tmp_path / "disk.img", Firmware.BIOS)
    with server.path.open("r+b") as disk:
        disk.write(bytes(512))
    proof, plan = prove(server, Firmware.BIOS, SHORT / 2)
    assert proof.verdict is BootVerdict.NOTHING, proof
    assert "did not come up" in warning_of(proof, plan)


def test_a_start_that_was_too_slow_says_nothing_of_the_copy(tmp_path: Path) -> None:
    server = make_bootable(tmp_path / "disk.img", Firmware.BIOS)
    proof, plan = prove(server, Firmware.BIOS, 0.0, LinuxEmulator(accelerated=False))
    assert (proof.verdict, warning_of(proof, plan)) == (BootVerdict.SKIPPED, "")
    assert "says nothing about the copy: its processor is emulated" in proof.why
    assert proof.picture


def test_a_kernel_that_no_emulated_controller_suits(tmp_path: Path) -> None:
    def without_drivers(tree: Path) -> None:
        for image in (tree / "boot").glob("initrd.img-*"):
            image.write_bytes(archive({"init": b"#!/bin/sh\n"}))

    server = make_bootable(tmp_path / "disk.img", Firmware.BIOS, without_drivers)
    proof, _ = prove(server, Firmware.BIOS, SHORT)
    assert proof.verdict is BootVerdict.SKIPPED
    assert f"kernel {server.version} has, in its initramfs, no driver" in proof.why
