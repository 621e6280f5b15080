"""What virtual machines can be given: offered where a kernel of the system drives it."""

import re
from dataclasses import replace

import pytest

from payload.formats.kernel.kernel_modules import Kernel
from payload.formats.kernel.virtual_devices import (
    DEVICES,
    Device,
    find_offers,
    option_of,
    starts_on,
)
from payload.model.survey import Offer, OfferKind

DRIVERS = {
    "virtio_pci": "pci:v00001AF4d*",
    "virtio_blk": "virtio:d00000002v*",
    "virtio_net": "virtio:d00000001v*",
    "vmw_pvscsi": "pci:v000015ADd000007C0sv*",
    "mptspi": "pci:v00001000d00000030sv*",
    "ahci": "pci:v*d*sv*sd*bc01sc06i01*",
    "piix": "pci:v00008086d00007111sv*",
    "ata_piix": "pci:v00008086d00007010sv*",
    "e1000": "pci:v00008086d0000100*sv*",
    "hv_storvsc": "vmbus:d96361baa104294db60572e2ffb1dc7f*",
}
PLACES = {
    "virtio_blk": "kernel/drivers/block/virtio_blk.ko",
    "mptspi": "kernel/drivers/message/fusion/mptspi.ko",
    "ahci": "kernel/drivers/ata/ahci.ko",
    "piix": "kernel/drivers/ide/pci/piix.ko",
    "ata_piix": "kernel/drivers/ata/ata_piix.ko",
}


def kernel(*modules: str, version: str = "6.1", options: frozenset[str] | None = None) -> Kernel:
    aliases = tuple((DRIVERS[name], name) for name in modules)
    return Kernel(version, aliases, tells_built_in=True, places=PLACES, options=options)


def names(offers: tuple[Offer, ...]) -> list[str]:
    return [offer.name for offer in offers]


def test_only_what_the_kernel_drives_is_offered_the_best_first() -> None:
    found = find_offers("VMware, Inc.", kernel("ahci", "mptspi", "e1000"), None)
    assert found == (
        Offer(OfferKind.CONTROLLER, "an LSI Logic controller"),
        Offer(OfferKind.CONTROLLER, "a SATA (AHCI) controller"),
        Offer(OfferKind.CARD, "an E1000 card"),
    )
    assert find_offers("VMware, Inc.", kernel(), None) == ()


def test_a_virtio_device_needs_the_driver_of_its_bus_too() -> None:
    assert names(find_offers("QEMU", kernel("virtio_blk"), None)) == []
    assert names(find_offers("QEMU", kernel("virtio_pci"), None)) == []
    found = find_offers("QEMU", kernel("virtio_blk", "virtio_pci", "virtio_net"), None)
    assert names(found) == ["a virtio block controller", "a virtio card"]


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        ("VMware, Inc.", "a Paravirtual SCSI controller"),
        ("Microsoft Corporation", "a Hyper-V SCSI controller"),
        ("QEMU", "an IDE controller"),
        ("Red Hat", "an IDE controller"),
        ("oVirt", "an IDE controller"),
        ("Xen", "an IDE controller"),
        ("innotek GmbH", "an LSI Logic controller"),
        ("Dell Inc.", None),
        ("", None),
        ("qemu", None),
    ],
)
def test_each_maker_offers_its_own_and_a_real_machine_nothing(maker: str, name: str | None) -> None:
    found = find_offers(maker, kernel("vmw_pvscsi", "hv_storvsc", "mptspi", "ata_piix"), None)
    assert names(found)[:1] == ([name] if name else [])


def test_controllers_the_initramfs_holds_come_first_and_cards_stay() -> None:
    able = kernel("virtio_blk", "virtio_pci", "ahci", "e1000")
    usual = ["a virtio block controller", "a SATA (AHCI) controller", "an E1000 card"]
    assert names(find_offers("QEMU", able, None)) == usual
    assert names(find_offers("QEMU", able, frozenset({"ahci"}))) == [
        "a SATA (AHCI) controller",
        "an E1000 card",
        "a virtio block controller",
    ]
    held = frozenset({"ahci", "virtio_blk", "virtio_pci"})
    assert names(find_offers("QEMU", able, held)) == usual


def test_what_a_device_needs_has_to_be_held_as_well() -> None:
    able = replace(kernel("ahci", "virtio_blk", "virtio_pci"), needs={"ahci": ("libahci",)})
    for held, first in (
        (frozenset({"ahci"}), "a virtio block controller"),
        (frozenset({"ahci", "libahci"}), "a SATA (AHCI) controller"),
    ):
        assert names(find_offers("QEMU", able, held))[0] == first


def test_only_controllers_with_names_of_a_family_where_the_names_have_to_stay() -> None:
    able = kernel("piix", "ahci", "mptspi", "e1000", version="2.6.18")
    found = names(find_offers("VMware", able, None, "hd"))
    assert found == ["an IDE controller", "an E1000 card"]
    found = names(find_offers("VMware", able, None, "sd"))
    assert found == ["an LSI Logic controller", "a SATA (AHCI) controller", "an E1000 card"]


def test_a_driver_built_into_an_old_kernel_is_known_by_its_option() -> None:
    old = kernel(options=frozenset({"CONFIG_BLK_DEV_PIIX", "CONFIG_PCNET32"}))
    found = names(find_offers("VMware", old, None))
    assert found == ["an IDE controller", "a PCnet (flexible, AMD) card"]
    assert starts_on("an IDE controller", old, frozenset())


def test_a_name_that_two_devices_have_is_offered_once() -> None:
    found = names(find_offers("VMware QEMU", kernel("e1000", "piix", "ata_piix"), None))
    assert found == list(dict.fromkeys(found))


# --- whether it starts


@pytest.mark.parametrize(
    ("held", "starts"),
    [(None, True), (frozenset(), False), (frozenset({"ahci"}), True), (frozenset({"x"}), False)],
)
def test_a_kernel_starts_where_its_initramfs_holds_the_driver(
    held: frozenset[str] | None, starts: bool
) -> None:
    assert starts_on("a SATA (AHCI) controller", kernel("ahci"), held) is starts


@pytest.mark.parametrize(
    "name", ["a Paravirtual SCSI controller", "an E1000 card", "a virtio card", "nonsense", ""]
)
def test_nothing_starts_on_what_qemu_has_no_controller_of(name: str) -> None:
    able = kernel("vmw_pvscsi", "e1000", "virtio_net", "virtio_pci")
    assert not starts_on(name, able, None)


def test_without_a_driver_nothing_starts() -> None:
    assert not starts_on("a SATA (AHCI) controller", kernel("virtio_blk"), None)


# --- options of the kernel's configuration


@pytest.mark.parametrize(
    ("modalias", "option"),
    [
        ("pci:v00008086d00007111sv000015ADsd00001976bc01sc01i8A", "CONFIG_BLK_DEV_PIIX"),
        ("pci:v000010ECd00008139sv00001AF4sd00001100bc02sc00i00", "CONFIG_8139CP"),
        ("virtio:d00000002v00001AF4", "CONFIG_VIRTIO_BLK"),
        ("xen:vif", "CONFIG_XEN_NETDEV_FRONTEND"),
        ("vmbus:635161f83edfc546913ff2d2f965ed0e", "CONFIG_HYPERV_NET"),
        ("pci:v00008086d0000ABCDsv0sd0", ""),
        ("xen:", ""),
        ("", ""),
    ],
)
def test_the_option_of_a_device_does_not_depend_on_who_built_the_board(
    modalias: str, option: str
) -> None:
    assert option_of(modalias) == option


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_every_device_is_told_in_the_forms_of_the_kernel(device: Device) -> None:
    """drivers/pci/pci-sysfs.c, drivers/virtio/virtio.c, drivers/hv/vmbus_drv.c, xenbus."""
    form = (
        r"pci:v0000[0-9A-F]{4}d0000[0-9A-F]{4}sv0000[0-9A-F]{4}sd0000[0-9A-F]{4}"
        r"bc[0-9A-F]{2}sc[0-9A-F]{2}i[0-9A-F]{2}"
        r"|virtio:d[0-9A-F]{8}v[0-9A-F]{8}|vmbus:[0-9a-f]{32}|xen:\w+"
    )
    assert all(re.fullmatch(form, alias) for alias in device.modaliases)
    assert device.modaliases and device.makers
    assert re.fullmatch(r"CONFIG_\w+", device.option)
    assert all(option_of(alias) for alias in device.modaliases)
