"""See the finished copy start before anybody needs it: once, in a machine inside the target.

The disks are the real ones and are only read (`system.emulator`); what the copy writes when it
starts goes into memory, so that it is unused afterwards. What can be seen there decides how far it
came: what was read from its disks, where its processor is, what its screen and its serial line say.
A failure of all this is a reason why there is no proof, never of the copy; and so it is when a copy
does not come up where the target is a virtual machine itself, which may just be too slow.
"""

import base64
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from payload.finish.first_start import PROOF_PRODUCT, PROOF_WORD
from payload.finish.storage.disk_order import order_at_target
from payload.finish.volumes import (
    find_volumes,
    mounted_at,
    mounted_read_only,
    parse_fstab,
    root_of,
    target_node,
)
from payload.formats.kernel.startup import Startup, read_startup
from payload.formats.kernel.virtual_devices import starts_on
from payload.model.errors import FailoverError, ToolError
from payload.model.inventory import Inventory
from payload.model.machine import Firmware
from payload.model.plan import Plan
from payload.model.report import BootProof, BootVerdict
from payload.system.emulator import (
    Controller,
    Running,
    Sight,
    VirtualDisk,
    VirtualMachine,
    room_for,
)
from payload.system.files import read_inside, subtree
from payload.system.host import Host

MIB = 1 << 20
PAUSE = 1.0  # seconds between two looks
SETTLE = 2.0  # seconds until the screen shows what was just said
RESERVE = 512 * MIB  # bytes of memory that stay free beside the machine
LEAST, MOST = 512 * MIB, 2048 * MIB  # bytes of memory for it
OVERLAY = 2048 * MIB  # bytes that it may write, at most
# Bytes read from its disks by which firmware alone cannot account for: a BIOS reads the first
# sector, UEFI tables and directories.
LOADED = {Firmware.BIOS: 16 << 10, Firmware.UEFI: 1 << 20}
SERIAL_KEPT = 16 << 10  # characters of the serial line in the report, the last ones
PICTURE_LIMIT = 256 << 10  # bytes of PNG; a text screen has 10 to 30 KiB

_NAMES = {
    Controller.AHCI: "a SATA (AHCI) controller",
    Controller.IDE: "an IDE controller",
    Controller.VIRTIO_SCSI: "a virtio SCSI controller",
    Controller.VIRTIO_BLOCK: "a virtio block controller",
    Controller.LSI: "an LSI 53C895A controller",
}
_FIRST = {"vd": Controller.VIRTIO_BLOCK, "hd": Controller.IDE}  # gives disks the names they have
_OWN_WORD = re.compile(rf"^{PROOF_WORD} (\S+)\s*$", re.MULTILINE)
_PROMPT = re.compile(r"\blogin: *\r?$", re.MULTILINE)
_LOADERS = re.compile(r"\bGRUB\b|\bLILO\b|\b(?:SYS|EXT)LINUX\b|\bsystemd-boot\b")


@dataclass(frozen=True)
class Skipped:
    """Why there is no proof."""

    why: str


@dataclass(frozen=True)
class Patience:
    """How long the copy may take to come up, in seconds. A server may be silent for long while it
    starts, so it gets `least` in any case; a slow machine that goes on gets `most`."""

    least: float = 300.0
    still: float = 60.0  # without a byte read or a word said: it does not go on
    most: float = 900.0

    def is_over(self, spent: float, still: float, encrypted: bool) -> bool:
        """`still` is since when nothing moved, `encrypted` whether the kernel of an encrypted copy
        runs: all that comes then is its question for the passphrase."""
        if still >= self.still and encrypted:
            return True
        return spent >= self.most or (spent >= self.least and still >= self.still)


@dataclass(frozen=True)
class Seen:
    """What a look tells: how far the copy is, and by which sign. `name` is the host name that it
    said itself."""

    verdict: BootVerdict
    sign: str
    name: str = ""


PATIENCE = Patience()
_RANK = (BootVerdict.NOTHING, BootVerdict.LOADER, BootVerdict.KERNEL, BootVerdict.LOGIN)


def prove_boot(
    host: Host, plan: Plan, target: Inventory, wanted: bool, patience: Patience = PATIENCE
) -> BootProof:
    """Start the copy on the target's disks, which are read-only, and watch how far it comes. Raises
    nothing of ours: without a proof the verdict is SKIPPED."""
    if not wanted:
        return BootProof(BootVerdict.SKIPPED, "It was switched off by failover.boot-proof.")
    if reason := host.emulator.missing():
        return BootProof(BootVerdict.SKIPPED, f"Nothing was started: {reason}.")
    try:
        disks = tuple(_disks(host, plan, target))
        startup = _read_startup(host, plan, target)
        names = [target.disk(pair.target.id).hardware.name for pair in plan.disks]
        free = host.emulator.free_memory()
        machine = decide_machine(disks, names, target.firmware, startup, free)
        if isinstance(machine, Skipped):
            return BootProof(BootVerdict.SKIPPED, machine.why)
        hindrance = host.emulator.hindrance()
        with host.emulator.start(machine) as running:
            return watch(running, machine, plan, patience, hindrance)
    except (FailoverError, OSError) as error:
        return BootProof(BootVerdict.SKIPPED, f"The machine to start it in broke: {error}")


def _disks(host: Host, plan: Plan, target: Inventory) -> Iterator[VirtualDisk]:
    """Read-only, and nothing of them left in memory: what is started is what lies on them."""
    for index, pair in enumerate(plan.disks):
        node = target_node(plan, target, index)
        host.blocks.set_read_only(node)
        host.blocks.drop_cache(node)
        yield VirtualDisk(node, pair.target.sector_size)


def _read_startup(host: Host, plan: Plan, target: Inventory) -> Startup:
    """How the copy starts by itself; nothing known of an encrypted one."""
    volumes = find_volumes(plan, order_at_target(plan, target))
    root = root_of(plan, volumes)
    if plan.encrypted:
        return Startup()
    with mounted_read_only(host, plan, target, volumes, lambda _: None) as trees:
        if root not in trees:
            return Startup()
        top = subtree(trees[root], plan.root_subvolume) or trees[root]
        fstab = parse_fstab((read_inside(top, "/etc/fstab") or b"").decode("latin-1"))
        boot = mounted_at([one for one in volumes if one != root], fstab, "/boot")
        beside = [trees[boot]] if boot is not None and boot in trees else []
        return read_startup([top, *beside])


def decide_machine(
    disks: Sequence[VirtualDisk],
    names: Sequence[str],
    firmware: Firmware,
    startup: Startup,
    free: int,
) -> VirtualMachine | Skipped:
    """The machine to start the copy in. `names` are the target's for its disks, `free` the bytes of
    memory that may be used."""
    usable = max(0, free - RESERVE)
    memory = min(MOST, usable * 2 // 3 // MIB * MIB)
    if memory < LEAST:
        need = (RESERVE + LEAST * 3 // 2) // MIB
        return Skipped(
            f"This machine has too little memory free for it: {free // MIB} MiB, {need} are needed."
        )
    controller = choose_controller(disks, names, firmware, startup)
    if controller is None:
        kernel = startup.kernel.version if startup.kernel else "that starts by itself"
        return Skipped(
            f"The copy's kernel {kernel} has, in its initramfs, no driver for any disk controller"
            " that can be emulated here: only the machine itself can start it."
        )
    overlay = min(OVERLAY, usable - memory)
    return VirtualMachine(firmware, tuple(disks), controller, memory, overlay, PROOF_PRODUCT)


def choose_controller(
    disks: Sequence[VirtualDisk], names: Sequence[str], firmware: Firmware, startup: Startup
) -> Controller | None:
    """One behind which the copy finds its disks, if possible by the names they have here."""
    order = [first for name in names[:1] if (first := _FIRST.get(name[:2]))]
    kernel, held = startup.kernel, startup.held
    for controller in dict.fromkeys((*order, *_NAMES)):
        if not room_for(controller, firmware, disks):
            continue
        if kernel is None or starts_on(_NAMES[controller], kernel, held):
            return controller
    return None


# --- watching


def judge(sight: Sight, firmware: Firmware) -> Seen:
    """How far the copy is, by what is to be seen now."""
    text = f"{sight.serial}\n{sight.screen}"
    if own := _OWN_WORD.search(sight.serial.replace("\r", "")):
        return Seen(BootVerdict.LOGIN, f"It said that it is up, as {own[1]}", own[1])
    if _PROMPT.search(text):
        return Seen(BootVerdict.LOGIN, "It showed a login prompt")
    if sight.in_kernel:
        return Seen(BootVerdict.KERNEL, "Its kernel ran, and nothing said that the system is up")
    if named := _LOADERS.search(text):
        return Seen(BootVerdict.LOADER, f"Its boot loader ({named[0]}) ran, and no kernel did")
    if sight.read > LOADED[firmware]:
        return Seen(BootVerdict.LOADER, "Its boot loader was read, and no kernel ran")
    return Seen(BootVerdict.NOTHING, "The firmware found nothing to start on its disks")


def further(before: Seen, now: Seen) -> Seen:
    """What was reached once was reached."""
    return max(before, now, key=lambda seen: _RANK.index(seen.verdict))


def watch(
    running: Running, machine: VirtualMachine, plan: Plan, patience: Patience, hindrance: str
) -> BootProof:
    """How far the copy comes until it is up or `patience` is over. With a `hindrance` a copy that
    does not come up has no verdict. Raises ToolError, OSError when QEMU is gone before anything was
    seen."""
    begin = moved = time.monotonic()
    best, sight = Seen(BootVerdict.NOTHING, ""), Sight()
    while True:
        before = sight
        try:
            sight = running.look()
        except (ToolError, OSError) as error:
            if best.verdict is BootVerdict.NOTHING:
                raise
            sight = replace(sight, running=False, state=str(error))
        best = further(best, judge(sight, machine.firmware))
        now = time.monotonic()
        if (sight.read, sight.serial, sight.screen) != (before.read, before.serial, before.screen):
            moved = now
        spent = now - begin
        asks = plan.encrypted and best.verdict is BootVerdict.KERNEL
        over = patience.is_over(spent, now - moved, asks)
        if best.verdict is BootVerdict.LOGIN or not sight.running or over:
            break
        time.sleep(PAUSE)
    if best.verdict is BootVerdict.LOGIN:
        time.sleep(SETTLE)
    undecided = bool(hindrance) and not _is_fine(best.verdict, plan)
    return BootProof(
        BootVerdict.SKIPPED if undecided else best.verdict,
        _undecided(hindrance, spent) if undecided else _sentence(best, sight, plan, spent),
        round(spent, 1),
        _NAMES[machine.controller],
        sight.serial[-SERIAL_KEPT:],
        _take_picture(running),
    )


def _take_picture(running: Running) -> str:
    """As base64; "" when there is none, which takes nothing from what was seen."""
    try:
        picture = running.picture()
    except (ToolError, OSError):
        return ""
    return base64.b64encode(picture).decode() if len(picture) <= PICTURE_LIMIT else ""


def _sentence(seen: Seen, sight: Sight, plan: Plan, spent: float) -> str:
    if seen.verdict is BootVerdict.LOGIN:
        wanted = plan.source.host_name
        other = seen.name and wanted and seen.name.split(".")[0] != wanted.split(".")[0]
        return f"{seen.sign}, where {wanted} was expected." if other else f"{seen.sign}."
    if seen.verdict is BootVerdict.KERNEL and plan.encrypted:
        return "Its kernel ran. It is encrypted and waits for its passphrase, as the server does."
    if not sight.running:
        return f"{seen.sign}; after {spent:.0f} seconds the machine stopped ({sight.state})."
    return f"{seen.sign} for {spent:.0f} seconds."


def _undecided(hindrance: str, spent: float) -> str:
    return (
        f"It was started and not up after {spent:.0f} seconds, which says nothing about the copy:"
        f" {hindrance}, and what is started in it may be too slow, or not start at all."
    )


def _is_fine(verdict: BootVerdict, plan: Plan) -> bool:
    """Whether the copy came as far as it can by itself."""
    return verdict is BootVerdict.LOGIN or (verdict is BootVerdict.KERNEL and plan.encrypted)


def warning_of(proof: BootProof, plan: Plan) -> str:
    """Warning for the report, "" when the copy came up or there is no proof."""
    if proof.verdict is BootVerdict.SKIPPED or _is_fine(proof.verdict, plan):
        return ""
    return (
        f"The copy was started once in a virtual machine and did not come up. {proof.why} Its"
        " content is proven all the same; what that machine lacks (the SAN, a network, this"
        " machine's own hardware) may be the reason. Look at boot-proof.png beside the report, and"
        " start the copy once without its network before you rely on it."
    )
