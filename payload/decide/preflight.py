"""Everything that could be known to go wrong, asked before the first byte is written.

A pure function of both inventories and the source's survey, so both machines show the same
answers. A "no" that would make the copy useless is a PlanError with the cure; any other is a
warning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from payload.model.disk import MIB, Disk
from payload.model.errors import PlanError
from payload.model.inventory import Inventory
from payload.model.machine import Card
from payload.model.plan import CopyMode, Method, Plan
from payload.model.survey import Drivers, Initramfs, OfferKind, Survey

IN_A_RUN = "it is looked at when both machines are booted from the medium"
MEMORY = 320 * MIB  # the live system and the payload
MEMORY_FOR_TIB = 41 * MIB  # the list of chunks
CLOCKS = 60  # seconds two clocks may differ without a word
GIGABIT = 1000
ROTATING, SOLID = 120e6, 400e6  # bytes per second, about, of a disk written in order


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One question, its answer, and why."""

    question: str
    answer: Answer
    reason: str

    @property
    def line(self) -> str:
        return f"  {self.question}: {self.answer.value}, {self.reason}"


@dataclass(frozen=True)
class Preflight:
    checks: tuple[Check, ...]
    estimate: str

    @property
    def lines(self) -> tuple[str, ...]:
        """For people, as shown below the plan."""
        return ("Preflight:", *(check.line for check in self.checks), self.estimate)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What has to be seen again in the report."""
        return tuple(
            f"Preflight: {check.question}: {check.answer.value}, {check.reason}."
            for check in self.checks
            if check.answer is not Answer.YES
        )


def check_copy(
    plan: Plan, source: Inventory, target: Inventory, survey: Survey, wire: tuple[str, str]
) -> Preflight:
    """The answers for a plan; `wire` are the MACs of both ends of the link.

    Raises PlanError when the copy could not be made or could not start.
    """
    checks = (
        Check("sizes and sectors", Answer.YES, "every disk fits"),
        Check("firmware", Answer.YES, f"both machines start by {target.firmware.upper()}"),
        _check_controllers(plan, target, survey),
        *_check_fixed_root(plan, target, survey),
        _check_initramfs(plan, target, survey),
        _check_cards(plan, target, survey),
        _check_memory(source, target),
        _check_clocks(survey),
    )
    return Preflight(checks, _estimate(plan, source, target, survey, wire))


# --- drivers


def _check_controllers(plan: Plan, target: Inventory, survey: Survey) -> Check:
    question = "driver for the target's disks"
    disks = [target.disk(pair.target.id) for pair in plan.disks]
    if not survey.kernels or not any(disk.hardware.controllers for disk in disks):
        return Check(question, Answer.UNKNOWN, _why_unknown(survey, "controllers"))
    found = [(disk, drivers) for disk in disks for drivers in _drivers(disk, survey)]
    for disk, drivers in found:
        if drivers.missing:
            raise PlanError(_no_controller(plan, target, disk, drivers, survey))
    return _judged(question, [drivers for _, drivers in found])


def _drivers(disk: Disk, survey: Survey) -> Iterator[Drivers]:
    for modalias in disk.hardware.controllers:
        found = survey.of(modalias)
        if found is not None:
            yield found


def _why_unknown(survey: Survey, devices: str) -> str:
    if not survey.asked:
        return IN_A_RUN
    if not survey.kernels:
        return "no kernel modules were found in the system to be copied"
    return f"the target's {devices} do not tell what they are"


def _no_controller(
    plan: Plan, target: Inventory, disk: Disk, drivers: Drivers, survey: Survey
) -> str:
    return (
        f"{_system(plan)} has no driver for the controller of disk {disk.hardware.label} of the "
        f"target {target.machine.label} ({device_name(drivers.modalias)}; kernels: "
        f"{', '.join(survey.kernels)}): the copy would not start. "
        f"{_other_controller(survey)}, or install a newer kernel on the source."
    )


def _other_controller(survey: Survey) -> str:
    """The cure, by the names that the settings of the virtual machine have."""
    controllers = _offered(survey, OfferKind.CONTROLLER)
    if not controllers:
        return (
            "Choose another controller for this disk in the target's firmware (as AHCI or IDE "
            "instead of RAID) or in the settings of the virtual machine"
        )
    cards = _offered(survey, OfferKind.CARD)
    more = f" and {cards[0]}" if cards else ""
    others = f" (or {', '.join(controllers[1:])})" if controllers[1:] else ""
    return f"Choose {controllers[0]}{more} for this virtual machine{others}"


def _offered(survey: Survey, kind: OfferKind) -> list[str]:
    return [offer.name for offer in survey.offers if offer.kind is kind]


# --- the root file system


def _check_fixed_root(plan: Plan, target: Inventory, survey: Survey) -> Iterator[Check]:
    """Asked of LILO only: every other boot loader is told the new name."""
    fixed = survey.fixed_root
    if fixed is None:
        return
    disk = target.disk(plan.disks[plan.regions[plan.root].pair].target.id)
    if disk.id in fixed.renamed:
        raise PlanError(
            f"{_system(plan)} is started by LILO with {fixed.name} as its root, and behind the "
            f"controller of the target's disk {disk.hardware.label} its kernel has names of "
            "another kind. Only lilo itself can change that: the copy would not start by itself. "
            f"{_other_controller(survey)}, or let /etc/lilo.conf of the source name "
            "the root by LABEL= or UUID= and run lilo there."
        )
    yield Check(
        "root that LILO names", Answer.YES, f"{fixed.name} has a name of that kind here, too"
    )


# --- the initramfs


def _check_initramfs(plan: Plan, target: Inventory, survey: Survey) -> Check:
    """It has to reach the disk with the root file system; all others come later."""
    question = "initramfs"
    initramfs = survey.initramfs
    if initramfs is None:
        why = "it is not known which kernel starts by itself" if survey.asked else IN_A_RUN
        return Check(question, Answer.UNKNOWN, why)
    named = f"kernel {initramfs.kernel}, which starts without an initramfs,"
    if initramfs.path:
        named = f"{initramfs.path} of kernel {initramfs.kernel}"
    if initramfs.unknown:
        return Check(question, Answer.UNKNOWN, f"{named}: {initramfs.unknown}")
    disk = target.disk(plan.disks[plan.regions[plan.root].pair].target.id)
    for drivers in _drivers(disk, survey):
        if drivers.certain and initramfs.kernel in drivers.without and drivers.modules:
            raise PlanError(_other_kernel(plan, disk, drivers, survey, initramfs))
    late = next((one for one in survey.late if one.disk == disk.id), None)
    if late is None:
        return Check(question, Answer.YES, f"{named} has what the target needs")
    missing = ", ".join(late.modules)
    if not initramfs.maker:
        raise PlanError(_no_initramfs(plan, disk, named, missing, survey))
    reason = f"{named} lacks {missing}: it will be made anew on the copy by {initramfs.maker}"
    return Check(question, Answer.YES, reason)


def _other_kernel(
    plan: Plan, disk: Disk, drivers: Drivers, survey: Survey, initramfs: Initramfs
) -> str:
    others = ", ".join(one for one in survey.kernels if one not in drivers.without)
    cure = _other_controller(survey)
    return (
        f"The boot menu of {plan.source.host_name or 'the source'} starts kernel "
        f"{initramfs.kernel}, which has no driver for the controller of the target's disk "
        f"{disk.hardware.label} ({device_name(drivers.modalias)}); kernel {others} has one: "
        f"the copy would not start by itself. Let the source "
        f"start kernel {others} by default, or {cure[0].lower()}{cure[1:]}."
    )


def _no_initramfs(plan: Plan, disk: Disk, named: str, missing: str, survey: Survey) -> str:
    return (
        f"{_system(plan)} has a driver for the controller of the target's disk "
        f"{disk.hardware.label}, but {named} does not hold it ({missing}), and "
        f"nothing that could make another initramfs is installed: the copy would not start. "
        f"{_other_controller(survey)}, or let the source start by an initramfs that "
        f"holds {missing}."
    )


def _system(plan: Plan) -> str:
    return f"The system {plan.source.host_name or 'to be copied'}"


def device_name(modalias: str) -> str:
    """For people: "PCI 8086:2922" for "pci:v00008086d00002922sv..."."""
    if modalias.startswith("pci:v") and modalias[13:14] == "d":
        return f"PCI {modalias[9:13].lower()}:{modalias[18:22].lower()}"
    return modalias


def _judged(question: str, found: Sequence[Drivers]) -> Check:
    """No device is without a driver for certain; still some kernel may lack one."""
    unknown = [drivers for drivers in found if not drivers.modules]
    if unknown:
        names = ", ".join(device_name(drivers.modalias) for drivers in unknown)
        reason = (
            f"no module of {', '.join(unknown[0].without)} claims {names}, and that kernel does "
            "not tell what is built into it"
        )
        return Check(question, Answer.UNKNOWN, reason)
    modules = ", ".join(dict.fromkeys(name for drivers in found for name in drivers.modules))
    without = tuple(dict.fromkeys(version for drivers in found for version in drivers.without))
    more = f", but not in kernel {', '.join(without)}: start another one" if without else ""
    return Check(question, Answer.YES, f"{modules}{more}")


def _check_cards(plan: Plan, target: Inventory, survey: Survey) -> Check:
    question = "driver for the target's network cards"
    found = [(card, survey.of(card.modalias)) for card in target.cards if card.modalias]
    known = [(card, drivers) for card, drivers in found if drivers is not None]
    if not survey.kernels or not known:
        return Check(question, Answer.UNKNOWN, _why_unknown(survey, "cards"))
    missing = [card for card, drivers in known if drivers.missing]
    if len(missing) == len(target.cards):
        raise PlanError(
            f"{_system(plan)} has no driver for any network card of the target "
            f"{target.machine.label} ({_cards(missing)}; kernels: {', '.join(survey.kernels)}): "
            f"the copy would not be reached by anybody. {_other_card(survey)}, or "
            "install a newer kernel on the source."
        )
    if missing:
        return Check(question, Answer.NO, f"there is none for {_cards(missing)}")
    return _judged(question, [drivers for _, drivers in known])


def _other_card(survey: Survey) -> str:
    cards = _offered(survey, OfferKind.CARD)
    if not cards:
        return "Put in a card it knows, or choose another one in the settings of the machine"
    others = f" (or {', '.join(cards[1:])})" if cards[1:] else ""
    return f"Choose {cards[0]} for this virtual machine{others}"


def _cards(cards: Sequence[Card]) -> str:
    return ", ".join(f"{card.mac} {device_name(card.modalias)}" for card in cards)


# --- the machines


def _check_memory(source: Inventory, target: Inventory) -> Check:
    question = "memory of the target"
    if not target.memory:
        return Check(question, Answer.UNKNOWN, "it does not tell")
    size = sum(disk.hardware.size for disk in source.eligible_disks)
    needed = MEMORY + MEMORY_FOR_TIB * size // (1 << 40)
    if target.memory < needed:
        raise PlanError(
            f"The target {target.machine.label} has {target.memory // MIB} MiB of memory, and "
            f"{needed // MIB} MiB are needed to copy {source.machine.label}. Give it "
            "more memory."
        )
    if target.memory < source.memory * 9 // 10:
        reason = f"{target.memory // MIB} MiB, less than the source's {source.memory // MIB}"
        return Check(question, Answer.NO, f"{reason}: the copy may be slower")
    return Check(question, Answer.YES, f"{target.memory // MIB} MiB")


def _check_clocks(survey: Survey) -> Check:
    question = "clocks"
    if not survey.asked:
        return Check(question, Answer.UNKNOWN, IN_A_RUN)
    seconds = abs(survey.clock_ahead)
    if seconds <= CLOCKS:
        return Check(question, Answer.YES, "they agree")
    word = "behind" if survey.clock_ahead > 0 else "ahead of"
    reason = f"the target's is {_duration(seconds)} {word} the source's: set it in the firmware"
    return Check(question, Answer.NO, reason)


# --- how long


def _estimate(
    plan: Plan, source: Inventory, target: Inventory, survey: Survey, wire: tuple[str, str]
) -> str:
    """Written as fast as wire and disk allow, then read back. It grows where a map of used blocks
    does not hold."""
    size, everything = _bytes_to_copy(plan, survey), _bytes_of_regions(plan)
    speed = _wire_speed(source, target, wire)
    rotating = any(target.disk(pair.target.id).hardware.rotational for pair in plan.disks)
    disk = ROTATING if rotating else SOLID
    through = min(disk, (speed or GIGABIT) * 1e6 / 8 * 0.9)

    def time_for(amount: int) -> str:
        seconds = round(amount / through + amount / disk)
        return f"about {_duration(seconds)} for {amount / 1e9:.1f} GB"

    way = f"{speed} Mbit/s" if speed else "a wire of unknown speed"
    line = f"  estimate: {time_for(size)} over {way}, less if the target holds some of it"
    if size == everything or all(region.method is not Method.USED for region in plan.regions):
        return line
    return (
        f"{line}; maps of used blocks are read when the copy begins: if none holds, "
        f"{time_for(everything)}"
    )


def _bytes_of_regions(plan: Plan) -> int:
    return sum(region.size for region in plan.regions if region.method is not Method.HEADER)


def _bytes_to_copy(plan: Plan, survey: Survey) -> int:
    everything = _bytes_of_regions(plan)
    if plan.mode is CopyMode.EXACT or not survey.used:
        return everything
    opaque = sum(
        region.size
        for region in plan.regions
        if region.method in (Method.ALL, Method.GAP) and not region.file_system
    )
    return min(everything, survey.used + opaque)


def _wire_speed(source: Inventory, target: Inventory, wire: tuple[str, str]) -> int:
    """Mbit/s of the slower end, 0 when neither tells."""
    ends = ((source, wire[0]), (target, wire[1]))
    speeds = [card.speed for machine, mac in ends for card in machine.cards if card.mac == mac]
    return min((speed for speed in speeds if speed), default=0)


def _duration(seconds: int) -> str:
    """For people: "3 min", "2 h 10 min", "4 days"."""
    minutes = max(1, -(-seconds // 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
