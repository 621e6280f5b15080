"""The start that proves a copy: which machine it gets, and what is made of what is to be seen."""

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot.proof import (
    LEAST,
    MIB,
    MOST,
    OVERLAY,
    RESERVE,
    Patience,
    Seen,
    Skipped,
    choose_controller,
    decide_machine,
    further,
    judge,
    prove_boot,
    warning_of,
)
from payload.finish.first_start import PROOF_PRODUCT
from payload.formats.boot.menu_files import Start
from payload.formats.kernel.initramfs import Contents
from payload.formats.kernel.kernel_modules import Kernel, parse_modules_alias
from payload.formats.kernel.startup import Startup
from payload.model.errors import ToolError
from payload.model.machine import Firmware
from payload.model.marker import MachineReference
from payload.model.plan import CopyMode, Plan
from payload.model.report import BootProof, BootVerdict
from payload.system.emulator import (
    Controller,
    LinuxEmulator,
    OpenDisk,
    Running,
    Sight,
    VirtualDisk,
    VirtualMachine,
    is_in_kernel,
    plan_command,
    plan_rights,
    read_text_screen,
    room_for,
)
from payload.system.files import Place
from payload.system.host import Host

GIB = 1 << 30
DISKS = (VirtualDisk("/dev/sda"), VirtualDisk("/dev/sdb"))
ALIASES = b"""\
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias virtio:d00000002v* virtio_blk
alias virtio:d00000008v* virtio_scsi
alias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix
"""
KERNEL = Kernel("6.1", tuple(parse_modules_alias(ALIASES)), tells_built_in=True)
PLAN = Plan(
    MachineReference("a" * 32, "Server", "groupware"),
    MachineReference("b" * 32, "Spare"),
    CopyMode.USED,
    (),
    (),
    root=0,
)
BIOS, UEFI = Firmware.BIOS, Firmware.UEFI


def startup(*held: str, kernel: Kernel = KERNEL) -> Startup:
    """A system whose initramfs holds these modules."""
    paths = frozenset(f"usr/lib/modules/6.1/kernel/{name}.ko" for name in held)
    start = Start("6.1", Place(Path("/"), "/boot/initrd.img-6.1"), "/boot/initrd.img-6.1")
    return Startup((kernel,), start, Contents(paths, {}))


# --- the machine


def test_it_gets_what_is_free_and_leaves_the_rest_alone() -> None:
    for free in (GIB * 3 // 2, 2 * GIB, 3 * GIB, 64 * GIB):
        machine = decide_machine(DISKS, ["sda"], BIOS, startup("ahci"), free)
        assert isinstance(machine, VirtualMachine)
        assert LEAST <= machine.memory <= MOST
        assert 0 < machine.overlay <= OVERLAY
        assert machine.memory + machine.overlay <= free - RESERVE
        assert (machine.disks, machine.product) == (DISKS, PROOF_PRODUCT)


def test_too_little_memory_is_told_with_what_is_needed() -> None:
    skipped = decide_machine(DISKS, ["sda"], BIOS, startup("ahci"), GIB)
    assert isinstance(skipped, Skipped)
    assert "1024 MiB, 1280 are needed" in skipped.why
    enough = decide_machine(DISKS, ["sda"], BIOS, startup("ahci"), 1280 * MIB)
    assert isinstance(enough, VirtualMachine)


@pytest.mark.parametrize(
    ("held", "name", "controller"),
    [
        (("ahci", "ata_piix"), "sda", Controller.AHCI),
        (("ata_piix",), "sda", Controller.IDE),
        (("ahci", "ata_piix"), "hda", Controller.IDE),
        (("ahci", "virtio_pci", "virtio_blk"), "vda", Controller.VIRTIO_BLOCK),
        (("virtio_pci", "virtio_scsi"), "nvme0n1", Controller.VIRTIO_SCSI),
        (("ahci",), "vda", Controller.AHCI),
        (("virtio_blk",), "vda", None),  # nothing for the PCI device itself
        ((), "sda", None),
    ],
)
def test_the_controller_is_one_that_the_initramfs_knows(
    held: tuple[str, ...], name: str, controller: Controller | None
) -> None:
    assert choose_controller(DISKS, [name], BIOS, startup(*held)) is controller


def test_a_system_that_tells_nothing_gets_the_usual_one() -> None:
    assert choose_controller(DISKS, ["sda"], BIOS, Startup()) is Controller.AHCI
    assert choose_controller(DISKS, ["vda"], UEFI, Startup()) is Controller.VIRTIO_BLOCK


def test_a_driver_that_is_built_in_will_do() -> None:
    own = Kernel("6.1", (), tells_built_in=False, options=frozenset({"CONFIG_BLK_DEV_PIIX"}))
    assert choose_controller(DISKS, ["sda"], BIOS, startup(kernel=own)) is Controller.IDE


def test_no_controller_is_told_with_the_kernel() -> None:
    skipped = decide_machine(DISKS, ["sda"], BIOS, startup(), 8 * GIB)
    assert isinstance(skipped, Skipped) and "kernel 6.1 has" in skipped.why


def test_disks_that_a_controller_does_not_take() -> None:
    many = tuple(VirtualDisk(f"/dev/sd{letter}") for letter in "abcdefgh")
    assert not room_for(Controller.IDE, BIOS, many) and not room_for(Controller.LSI, BIOS, many)
    assert room_for(Controller.AHCI, BIOS, many)
    assert not room_for(Controller.IDE, UEFI, many[:1])  # that board has none
    large = (VirtualDisk("/dev/sda", 4096),)
    assert choose_controller(large, ["sda"], BIOS, Startup()) is Controller.VIRTIO_SCSI


# --- QEMU's words


def command(machine: VirtualMachine, *, accelerated: bool = True) -> list[str]:
    disks = [OpenDisk(10 + number, is_block=True) for number in range(len(machine.disks))]
    return plan_command(machine, Path("/p"), disks, accelerated=accelerated)


def machine_with(controller: Controller, firmware: Firmware = BIOS, count: int = 2) -> list[str]:
    disks = tuple(VirtualDisk(f"/dev/sd{letter}") for letter in "abcdefgh"[:count])
    return command(VirtualMachine(firmware, disks, controller, GIB, GIB, "proof"))


@pytest.mark.parametrize("firmware", list(Firmware))
@pytest.mark.parametrize("controller", list(Controller))
def test_no_disk_is_written_and_no_network_is_there(
    controller: Controller, firmware: Firmware
) -> None:
    words = machine_with(controller, firmware)
    drives = [words[at + 1] for at, word in enumerate(words) if word == "-drive"]
    disks = [drive for drive in drives if "/dev/fdset/" in drive]
    assert len(disks) == 2
    assert all("snapshot=on" in drive.split(",") for drive in disks)
    assert words[words.index("-nic") + 1] == "none"
    assert "-netdev" not in words and "-nodefaults" in words
    assert words[words.index("-sandbox") + 1].startswith("on,")


def test_disks_hang_where_the_controller_has_room() -> None:
    eight = machine_with(Controller.AHCI, count=8)
    assert "ahci,id=ahci1" in eight
    assert "ide-hd,bus=ahci1.1,drive=disk7,bootindex=8" in eight
    assert "ide-hd,bus=ide.1,unit=0,drive=disk2,bootindex=3" in machine_with(
        Controller.IDE, count=3
    )
    assert "scsi-hd,bus=scsi.0,scsi-id=1,drive=disk1,bootindex=2" in machine_with(Controller.LSI)
    assert "virtio-blk-pci,drive=disk0,bootindex=1" in machine_with(Controller.VIRTIO_BLOCK)


def test_disks_are_handed_over_open_and_called_what_they_are() -> None:
    words = machine_with(Controller.AHCI)
    handed = [words[at + 1] for at, word in enumerate(words) if word == "-add-fd"]
    assert handed == ["fd=10,set=0", "fd=11,set=1"]
    assert not any("/dev/sd" in word for word in words)
    machine = VirtualMachine(BIOS, DISKS[:1], Controller.AHCI, GIB, GIB, "proof")
    for is_block, driver in ((True, "host_device"), (False, "file")):
        words = plan_command(machine, Path("/p"), [OpenDisk(9, is_block)], accelerated=True)
        assert any(f"file.driver={driver},file.filename=/dev/fdset/0" in word for word in words)


def test_qemu_is_nobody() -> None:
    words = plan_rights((107,))
    assert {"--reuid=65533", "--regid=65533", "--groups=107", "--no-new-privs"} <= set(words)
    assert "--bounding-set=-all" in words and "--net" in words
    assert "--clear-groups" in plan_rights(())


def test_sectors_are_as_large_as_there() -> None:
    disk = VirtualDisk("/dev/sda", 4096)
    words = command(VirtualMachine(BIOS, (disk,), Controller.VIRTIO_BLOCK, GIB, GIB, "proof"))
    assert any("logical_block_size=4096,physical_block_size=4096" in word for word in words)


def test_firmware_and_acceleration() -> None:
    assert "isa-vga" in machine_with(Controller.AHCI)
    uefi = machine_with(Controller.AHCI, UEFI)
    assert any("pflash" in word and "readonly=on" in word for word in uefi)
    assert "kvm" in uefi
    machine = VirtualMachine(BIOS, DISKS, Controller.AHCI, GIB, GIB, "proof")
    assert "tcg" in command(machine, accelerated=False)


def test_a_machine_needs_qemu_and_a_processor_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no virtualization" in LinuxEmulator(kvm=tmp_path / "kvm").missing()
    assert LinuxEmulator(accelerated=False).missing() == ""
    (tmp_path / "kvm").touch()
    assert LinuxEmulator(kvm=tmp_path / "kvm").missing() == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "without QEMU" in LinuxEmulator(kvm=tmp_path / "kvm").missing()


# --- what is to be seen


def screen(*lines: str) -> bytes:
    letters = "".join(line.ljust(80) for line in lines).ljust(80 * 25).encode("latin-1")
    return bytes(byte for letter in letters for byte in (letter, 0x07))


def test_a_text_screen_is_read() -> None:
    memory = screen("Debian GNU/Linux 4.0 groupware tty1", "", "groupware login: \xdb")
    assert read_text_screen(memory) == "Debian GNU/Linux 4.0 groupware tty1\ngroupware login:"


@given(st.binary(max_size=0x8000))
def test_any_memory_is_a_screen(memory: bytes) -> None:
    assert all(line.isascii() and line.isprintable() for line in read_text_screen(memory).split())


IN_FIRMWARE = """\
EAX=00000000 EBX=000fd2a0 ECX=00000000 EDX=00000cfd
EIP=000fd2a3 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000
"""
IN_OVMF = """\
RAX=0000000000000000 RBX=000000007e5d2018 RCX=0000000000000000
RIP=000000007e8fa3c1 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
CR0=80010033 CR2=0000000000000000 CR3=000000007fc01000 CR4=00000668
"""
IN_KERNEL = """\
RAX=0000000000000000 RBX=ffffffff82a0f940 RCX=0000000000000001
RIP=ffffffff81bd2c1b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CR0=80050033 CR2=00007f1c7a3e4000 CR3=0000000103a0c000 CR4=00750ef0
"""
IN_PROGRAM = IN_KERNEL.replace("ffffffff81bd2c1b", "00007f1c7a2e1b2a").replace("CPL=0", "CPL=3")
IN_KERNEL_32 = """\
EAX=00000000 EBX=c0444000 ECX=00000000 EDX=c0445000
EIP=c0102f3c EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CR0=8005003b CR2=b7f2a000 CR3=3641a000 CR4=000006d0
"""


@pytest.mark.parametrize(
    ("registers", "expected"),
    [
        (IN_FIRMWARE, False),
        (IN_OVMF, False),
        (IN_KERNEL, True),
        (IN_PROGRAM, True),
        (IN_KERNEL_32, True),
        (IN_KERNEL_32.replace("c0102f3c", "00102f3c"), False),
        ("", False),
    ],
)
def test_where_the_processor_is(registers: str, expected: bool) -> None:
    assert is_in_kernel(registers) is expected


@pytest.mark.parametrize(
    ("sight", "verdict", "sign"),
    [
        (Sight(), BootVerdict.NOTHING, "nothing to start"),
        (Sight(read=512), BootVerdict.NOTHING, "nothing to start"),
        (Sight(read=64 << 10), BootVerdict.LOADER, "was read"),
        (Sight(screen="GRUB loading..", read=512), BootVerdict.LOADER, "GRUB"),
        (Sight(screen="LILO 22.6.1 boot:"), BootVerdict.LOADER, "LILO"),
        (Sight(in_kernel=True), BootVerdict.KERNEL, "kernel ran"),
        (Sight(in_kernel=True, screen="GRUB"), BootVerdict.KERNEL, "kernel ran"),
        (Sight(screen="Debian\ngroupware login:", in_kernel=True), BootVerdict.LOGIN, "prompt"),
        (Sight(serial="\r\ngroupware login: "), BootVerdict.LOGIN, "prompt"),
        (Sight(serial="x\r\nUGS-FAILOVER-UP groupware\r\n"), BootVerdict.LOGIN, "as groupware"),
        (Sight(serial="say UGS-FAILOVER-UP groupware"), BootVerdict.NOTHING, ""),
        (Sight(screen="Last login: Mon"), BootVerdict.NOTHING, ""),
    ],
)
def test_how_far_it_is(sight: Sight, verdict: BootVerdict, sign: str) -> None:
    seen = judge(sight, BIOS)
    assert seen.verdict is verdict
    assert sign in seen.sign


def test_uefi_reads_more_before_there_is_a_loader() -> None:
    assert judge(Sight(read=64 << 10), UEFI).verdict is BootVerdict.NOTHING
    assert judge(Sight(read=3 << 20), UEFI).verdict is BootVerdict.LOADER


def test_what_was_reached_stays_reached() -> None:
    kernel = Seen(BootVerdict.KERNEL, "kernel")
    assert further(kernel, Seen(BootVerdict.LOADER, "again")) is kernel
    up = Seen(BootVerdict.LOGIN, "up")
    assert further(kernel, up) is up


# --- the whole


@dataclass
class PaperMachine:
    """Shows one sight after the other; the last one stays."""

    sights: list[Sight]
    started: list[VirtualMachine] = field(default_factory=list)
    fault: str = ""
    reason: str = ""
    blind: bool = False
    slow: str = ""

    def missing(self) -> str:
        return self.reason

    def hindrance(self) -> str:
        return self.slow

    def free_memory(self) -> int:
        return 8 * GIB

    @contextmanager
    def _on(self) -> Any:
        yield self

    def start(self, machine: VirtualMachine) -> AbstractContextManager[Running]:
        self.started.append(machine)
        if self.fault:
            raise ToolError(self.fault)
        return self._on()

    def look(self) -> Sight:
        sight = self.sights.pop(0) if len(self.sights) > 1 else self.sights[0]
        if sight.state == "gone":
            raise ToolError("QEMU closed its control socket.")
        return sight

    def picture(self) -> bytes:
        if self.blind:
            raise ToolError("QEMU refuses 'screendump'.")
        return b"PNG"


BRIEF = Patience(0.05, 0.0, 0.05)


def prove(
    emulator: PaperMachine, monkeypatch: pytest.MonkeyPatch, plan: Plan = PLAN, **options: Any
) -> BootProof:
    """Of a copy without disks, whose system tells nothing of itself."""
    unused: Any = None
    host = Host(unused, unused, unused, unused, unused, unused, unused, emulator)
    target: Any = type("Target", (), {"firmware": BIOS})()
    monkeypatch.setattr("payload.finish.boot.proof._read_startup", lambda *_: Startup())
    monkeypatch.setattr("payload.finish.boot.proof.PAUSE", options.get("pause", 0.0))
    monkeypatch.setattr("payload.finish.boot.proof.SETTLE", 0.0)
    patience = options.get("patience", BRIEF)
    return prove_boot(host, plan, target, options.get("wanted", True), patience)


def test_it_ends_as_soon_as_the_copy_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Sight(serial="UGS-FAILOVER-UP groupware.example.org\n")
    proof = prove(
        PaperMachine([Sight(), Sight(in_kernel=True), up]), monkeypatch, patience=Patience()
    )
    assert proof.verdict is BootVerdict.LOGIN
    assert proof.why == "It said that it is up, as groupware.example.org."
    assert (proof.picture, proof.serial) == ("UE5H", up.serial)
    assert warning_of(proof, PLAN) == ""


@pytest.mark.parametrize(
    ("spent", "still", "asks", "over"),
    [
        (299, 299, False, False),  # a file system check, say
        (300, 59, False, False),
        (300, 60, False, True),
        (899, 0, False, False),
        (900, 0, False, True),
        (70, 59, True, False),
        (70, 60, True, True),
    ],
)
def test_a_copy_that_goes_on_gets_more_time(
    spent: float, still: float, asks: bool, over: bool
) -> None:
    assert Patience().is_over(spent, still, asks) is over


@pytest.mark.parametrize(
    "sights",
    [
        [Sight(serial="a" * count) for count in range(40)],
        [Sight(screen="a" * count) for count in range(40)],
        [Sight(read=count) for count in range(40)],
    ],
    ids=["said", "shown", "read"],
)
def test_whatever_moves_is_a_copy_that_goes_on(
    sights: list[Sight], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is up after the time that a still one gets."""
    patience = Patience(0.02, 0.02, 60.0)
    up = Sight(screen="groupware login:")
    looks = [replace(one, in_kernel=True) for one in sights]
    proof = prove(PaperMachine([*looks, up]), monkeypatch, patience=patience, pause=0.005)
    assert proof.verdict is BootVerdict.LOGIN
    waiting = Sight(screen="Press Control-D", in_kernel=True)
    proof = prove(PaperMachine([*[waiting] * 40, up]), monkeypatch, patience=patience, pause=0.005)
    assert proof.verdict is BootVerdict.KERNEL


def test_another_host_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = prove(PaperMachine([Sight(serial="UGS-FAILOVER-UP localhost\n")]), monkeypatch)
    assert proof.why == "It said that it is up, as localhost, where groupware was expected."


def test_a_machine_that_stops_by_itself_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    halted = Sight(running=False, state="shutdown")
    proof = prove(PaperMachine([Sight(in_kernel=True), halted]), monkeypatch, patience=Patience())
    assert proof.verdict is BootVerdict.KERNEL
    assert "the machine stopped (shutdown)" in proof.why
    assert "did not come up" in warning_of(proof, PLAN)


def test_what_was_seen_before_qemu_broke_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Sight(state="gone")
    proof = prove(
        PaperMachine([Sight(in_kernel=True), gone], blind=True), monkeypatch, patience=Patience()
    )
    assert proof.verdict is BootVerdict.KERNEL
    assert "stopped (QEMU closed its control socket.)" in proof.why
    proof = prove(PaperMachine([Sight(), gone], blind=True), monkeypatch, patience=Patience())
    assert proof.verdict is BootVerdict.SKIPPED
    assert "closed its control socket" in proof.why


def test_a_picture_that_cannot_be_taken_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Sight(screen="groupware login:")
    proof = prove(PaperMachine([up], blind=True), monkeypatch)
    assert (proof.verdict, proof.picture) == (BootVerdict.LOGIN, "")


def test_an_encrypted_copy_comes_as_far_as_its_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, encrypted=True)
    proof = prove(PaperMachine([Sight(in_kernel=True)]), monkeypatch, plan)
    assert (proof.verdict, warning_of(proof, plan)) == (BootVerdict.KERNEL, "")
    assert "passphrase" in proof.why


@pytest.mark.parametrize(
    ("emulator", "wanted", "why"),
    [
        (PaperMachine([], reason="this medium was built without QEMU"), True, "without QEMU"),
        (PaperMachine([]), False, "failover.boot-proof"),
        (PaperMachine([], fault="QEMU could not be started."), True, "QEMU could not be started."),
    ],
)
def test_without_a_machine_there_is_no_verdict(
    emulator: PaperMachine, wanted: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = prove(emulator, monkeypatch, wanted=wanted)
    assert proof.verdict is BootVerdict.SKIPPED
    assert why in proof.why
    assert warning_of(proof, PLAN) == ""
    assert bool(emulator.started) is bool(emulator.fault)


VIRTUAL = "this machine is a virtual one itself"


@pytest.mark.parametrize(
    "sight",
    [
        Sight(),
        Sight(screen="GRUB loading."),
        Sight(in_kernel=True),
        Sight(in_kernel=True, running=False, state="internal-error"),
        Sight(screen="No bootable device.", running=False, state="shutdown"),
    ],
    ids=["nothing", "loader", "kernel", "broken", "stopped"],
)
def test_where_a_start_may_be_too_slow_a_failure_says_nothing_of_the_copy(
    sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = prove(PaperMachine([sight], slow=VIRTUAL), monkeypatch)
    assert proof.verdict is BootVerdict.SKIPPED
    assert VIRTUAL in proof.why and "says nothing about the copy" in proof.why
    assert proof.picture, "to be looked at all the same"
    assert warning_of(proof, PLAN) == ""


def test_where_a_start_may_be_too_slow_a_success_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Sight(serial="UGS-FAILOVER-UP groupware\n")
    proof = prove(PaperMachine([up], slow=VIRTUAL), monkeypatch)
    assert proof.verdict is BootVerdict.LOGIN
    sealed = replace(PLAN, encrypted=True)
    proof = prove(PaperMachine([Sight(in_kernel=True)], slow=VIRTUAL), monkeypatch, sealed)
    assert proof.verdict is BootVerdict.KERNEL
    assert "passphrase" in proof.why


@pytest.mark.parametrize(
    ("accelerated", "flags", "why"),
    [
        (True, "fpu svm lm", ""),
        (True, "fpu hypervisor lm", VIRTUAL),
        (False, "fpu lm", "its processor is emulated"),
    ],
)
def test_what_slows_a_start(tmp_path: Path, accelerated: bool, flags: str, why: str) -> None:
    processors = tmp_path / "cpuinfo"
    processors.write_text(f"processor\t: 0\nmodel name\t: a hypervisor\nflags\t\t: {flags}\n\n" * 2)
    assert LinuxEmulator(accelerated=accelerated, processors=processors).hindrance() == why
