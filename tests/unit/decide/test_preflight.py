"""The questions before the first byte: a no that matters ends it with the cure."""

from dataclasses import replace
from typing import Any

import pytest

from payload.decide.planning import plan_copy
from payload.decide.preflight import Preflight, check_copy, device_name
from payload.decide.role import decide_role
from payload.model.disk import MIB
from payload.model.errors import PlanError
from payload.model.inventory import Inventory
from payload.model.machine import Card
from payload.model.plan import CopyMode, Plan
from payload.model.settings import Settings
from payload.model.survey import Drivers, FixedRoot, Initramfs, LateDisk, Offer, OfferKind, Survey
from tests.support.machines import disk, machine, server

RAID = "pci:v00001000d00000060sv00001028sd00001F0Cbc01sc04i00"
AHCI = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
E1000 = "pci:v00008086d0000100Fsv00001AF4sd00001100bc02sc00i00"
IGB = "pci:v00008086d00001533sv00001AF4sd00001100bc02sc00i00"
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
CARDS = tuple(Card(f"eth{n}", mac, modalias=E1000, speed=1000) for n, mac in enumerate(MACS))
KNOWN = Survey(
    ("6.1",),
    (Drivers(AHCI, ("ahci",)), Drivers(E1000, ("e1000",))),
    used=36 * 10**9,
    initramfs=Initramfs("6.1", "/boot/initrd.img-6.1", maker="initramfs-tools"),
)


def target(*cards: Card, controller: str = AHCI, **more: Any) -> Inventory:
    made = machine("B", disk("SB", controllers=(controller,) if controller else ()))
    return replace(made, cards=cards or CARDS[1:], memory=4 << 30, **more)


def check(
    survey: Survey = KNOWN,
    machine: Inventory | None = None,
    mode: CopyMode = CopyMode.USED,
    memory: int = 4 << 30,
) -> Preflight:
    machine = machine or target()
    source = replace(server(), cards=CARDS[:1], memory=memory)
    plan: Plan = plan_copy(source, machine, decide_role(machine, Settings()), mode)
    return check_copy(plan, source, machine, survey, MACS)


def test_all_is_well() -> None:
    found = check()
    assert found.warnings == ()
    assert found.lines == (
        "Preflight:",
        "  sizes and sectors: yes, every disk fits",
        "  firmware: yes, both machines start by BIOS",
        "  driver for the target's disks: yes, ahci",
        "  initramfs: yes, /boot/initrd.img-6.1 of kernel 6.1 has what the target needs",
        "  driver for the target's network cards: yes, e1000",
        "  memory of the target: yes, 4096 MiB",
        "  clocks: yes, they agree",
        "  estimate: about 2 min for 8.0 GB over 1000 Mbit/s, less if the target holds some of it",
    )


def test_a_controller_without_a_driver_is_no_copy_and_tells_the_cure() -> None:
    survey = replace(KNOWN, drivers=(Drivers(RAID, (), ("6.1",)),))
    with pytest.raises(PlanError) as caught:
        check(survey, target(controller=RAID))
    assert "no driver for the controller of disk sd-SB SB 500.0 GB" in str(caught.value)
    assert "(PCI 1000:0060; kernels: 6.1)" in str(caught.value)
    assert "AHCI or IDE instead of RAID" in str(caught.value)


def test_the_cure_is_told_by_the_names_of_the_virtual_machines_settings() -> None:
    names = ("an LSI Logic controller", "an IDE controller")
    offers = tuple(Offer(OfferKind.CONTROLLER, name) for name in names)
    offers += (Offer(OfferKind.CARD, "an E1000 card"),)
    survey = replace(KNOWN, drivers=(Drivers(RAID, (), ("2.6.18",)),), offers=offers)
    with pytest.raises(PlanError) as caught:
        check(survey, target(controller=RAID))
    cure = "Choose an LSI Logic controller and an E1000 card for this virtual machine"
    assert f"{cure} (or an IDE controller), or install a newer kernel" in str(caught.value)
    strange = Card("eth1", "02:00:00:00:00:03", modalias=IGB)
    survey = replace(KNOWN, drivers=(KNOWN.drivers[0], Drivers(IGB, (), ("6.1",))), offers=offers)
    with pytest.raises(PlanError, match="Choose an E1000 card for this virtual machine, or inst"):
        check(survey, target(strange))


def test_an_initramfs_that_lacks_the_driver_is_made_anew_or_is_no_copy() -> None:
    late = replace(KNOWN, late=(LateDisk("serial:SB", ("ahci", "sd_mod")),))
    assert (
        check(late)
        .lines[4]
        .endswith("6.1 lacks ahci, sd_mod: it will be made anew on the copy by initramfs-tools")
    )
    other = replace(KNOWN, late=(LateDisk("serial:data", ("ahci",)),))
    assert "has what the target needs" in check(other).lines[4]
    nobody = replace(late, initramfs=Initramfs("6.1", "/initrd"))
    with pytest.raises(PlanError, match=r"does not hold it \(ahci, sd_mod\), and nothing that"):
        check(nobody)


def test_a_kernel_without_an_initramfs_is_not_said_to_have_one() -> None:
    without = replace(KNOWN, initramfs=Initramfs("2.6.18"))
    assert (
        check(without)
        .lines[4]
        .endswith("kernel 2.6.18, which starts without an initramfs, has what the target needs")
    )
    with pytest.raises(PlanError, match=r"but kernel 2\.6\.18, which starts without .* \(ahci\)"):
        check(replace(without, late=(LateDisk("serial:SB", ("ahci",)),)))


def test_a_root_that_only_lilo_could_name_anew_is_no_copy() -> None:
    offers = (Offer(OfferKind.CONTROLLER, "an IDE controller"),)
    fixed = replace(KNOWN, fixed_root=FixedRoot("/dev/hda2", ("serial:SB",)), offers=offers)
    with pytest.raises(PlanError) as caught:
        check(fixed)
    assert "is started by LILO with /dev/hda2 as its root" in str(caught.value)
    assert "Choose an IDE controller for this virtual" in str(caught.value)
    assert "LABEL= or UUID=" in str(caught.value)
    for others in ((), ("serial:data",)):
        found = check(replace(fixed, fixed_root=FixedRoot("/dev/hda2", others)))
        assert found.warnings == ()
        assert "  root that LILO names: yes, /dev/hda2 has a name of that kind" in found.lines[4]


def test_a_menu_that_starts_the_wrong_kernel_is_no_copy() -> None:
    drivers = (Drivers(AHCI, ("ahci",), ("6.1",)), KNOWN.drivers[1])
    survey = replace(KNOWN, kernels=("6.1", "6.12"), drivers=drivers)
    with pytest.raises(PlanError) as caught:
        check(survey)
    assert "starts kernel 6.1, which has no driver" in str(caught.value)
    assert "Let the source start kernel 6.12 by default, or choose another" in str(caught.value)
    unsure = replace(survey, drivers=(replace(drivers[0], certain=False), drivers[1]))
    assert "not in kernel 6.1" in check(unsure).lines[3]


def test_an_initramfs_that_is_not_understood_is_unknown() -> None:
    unread = Initramfs("2.4.27", "/initrd", "the image is a file system of its own, cramfs")
    (warning,) = check(replace(KNOWN, initramfs=unread)).warnings
    assert warning.endswith("kernel 2.4.27: the image is a file system of its own, cramfs.")


def test_an_old_kernel_may_have_it_built_in() -> None:
    found = check(Survey(("2.6.18",), (Drivers(RAID, (), ("2.6.18",), certain=False),)),
                  target(controller=RAID))  # fmt: skip
    assert "no module of 2.6.18 claims PCI 1000:0060" in found.warnings[0]


def test_a_kernel_that_lacks_what_another_has_is_named() -> None:
    drivers = (Drivers(AHCI, ("ahci",), ("2.6.18",)), KNOWN.drivers[1])
    lines = check(replace(KNOWN, kernels=("2.6.18", "6.1"), drivers=drivers)).lines
    assert "  driver for the target's disks: yes, ahci, but not in kernel 2.6.18" in lines[3]


def test_one_card_without_a_driver_is_a_warning_and_none_with_one_is_no_copy() -> None:
    survey = replace(KNOWN, drivers=(*KNOWN.drivers, Drivers(IGB, (), ("6.1",))))
    strange = Card("eth1", "02:00:00:00:00:03", modalias=IGB)
    found = check(survey, target(CARDS[1], strange))
    (warning,) = found.warnings
    assert warning.endswith("cards: no, there is none for 02:00:00:00:00:03 PCI 8086:1533.")
    with pytest.raises(PlanError, match="no driver for any network card of the target"):
        check(survey, target(strange))


def test_what_nobody_tells_is_unknown_and_said() -> None:
    words = [word.split(": ")[2] for word in check(Survey()).warnings]
    nothing = "unknown, no kernel modules were found in the system to be copied."
    assert words == [nothing, "unknown, it is not known which kernel starts by itself.", nothing]
    silent = check(KNOWN, target(replace(CARDS[1], modalias=""), controller=""))
    assert "controllers do not tell" in silent.warnings[0]
    assert "cards do not tell" in silent.warnings[1]


def test_too_little_memory_is_no_copy_and_less_than_the_source_has_a_warning() -> None:
    with pytest.raises(PlanError, match="has 128 MiB of memory, and 338 MiB are needed"):
        check(machine=replace(target(), memory=128 * MIB))
    assert "less than the source's 16384" in check(memory=16 << 30).warnings[0]
    assert "unknown" in check(machine=replace(target(), memory=0)).warnings[0]


@pytest.mark.parametrize(
    ("ahead", "words"), [(61, "2 min behind the source's"), (-7300, "2 h 2 min ahead of")]
)
def test_clocks_that_differ_are_told(ahead: int, words: str) -> None:
    assert words in check(replace(KNOWN, clock_ahead=ahead)).warnings[0]
    assert check(replace(KNOWN, clock_ahead=60)).warnings == ()


def test_the_estimate_follows_what_is_in_use_and_how_fast_it_goes() -> None:
    assert "about 1 min for 1.0 GB over 1000" in check(replace(KNOWN, used=10**9)).estimate
    exact = check(replace(KNOWN, used=10**9), mode=CopyMode.EXACT).estimate
    assert "for 500.0 GB" in exact, "every sector of the disk"
    slow = check(machine=target(replace(CARDS[1], speed=10))).estimate
    assert "1 h 59 min" in slow and "over 10 Mbit/s" in slow
    unknown = check_without_speeds().estimate
    assert "a wire of unknown speed" in unknown


def test_the_estimate_says_how_much_it_grows_when_no_map_holds() -> None:
    some = replace(KNOWN, used=10**9)
    words = (
        "maps of used blocks are read when the copy begins: if none holds, about 2 min for 8.0 GB"
    )
    assert words in check(some).estimate
    assert "maps" not in check(some, mode=CopyMode.EXACT).estimate, "none is read"
    assert "maps" not in check(replace(KNOWN, used=0)).estimate, "all is counted already"


def check_without_speeds() -> Preflight:
    source, made = server(), target(replace(CARDS[1], speed=0))
    plan = plan_copy(source, made, decide_role(made, Settings()), CopyMode.USED)
    return check_copy(plan, source, made, KNOWN, MACS)


def test_devices_are_named_as_lspci_does() -> None:
    assert device_name(RAID) == "PCI 1000:0060"
    assert device_name("virtio:d00000002v00001AF4") == "virtio:d00000002v00001AF4"
