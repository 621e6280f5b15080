"""What sysfs says of a card, on trees as real drivers make them."""

from pathlib import Path
from typing import Any

import pytest

from payload.model.machine import Card
from payload.system.command import Completed
from payload.system.links import Links

PCI = "devices/pci0000:00/0000:00:03.0"


class PaperLink(dict[str, Any]):
    """A netlink message."""

    def __init__(self, name: str, flags: int = 1, **attributes: object) -> None:
        super().__init__(flags=flags)
        self._attributes = {"IFLA_IFNAME": name, **attributes}

    def get_attr(self, key: str) -> object:
        return self._attributes.get(key)


class PaperNames(dict[str, list[str]]):
    """A netlink attribute that holds others."""

    def get_attrs(self, key: str) -> list[str]:
        return self.get(key, [])


def no_tool(*words: object, **options: object) -> Completed:
    raise AssertionError("no tool is needed here")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A virtio card, whose net device hangs below the PCI device by way of virtio0."""
    write(tmp_path / PCI / "vendor", "0x1af4")
    write(tmp_path / PCI / "device", "0x1000")
    write(tmp_path / PCI / "virtio0" / "modalias", "virtio:d00000001v00001AF4")
    write(tmp_path / PCI / "virtio0" / "vendor", "0x1af4")
    write(tmp_path / PCI / "virtio0" / "device", "0x0001")
    (tmp_path / "bus/virtio/drivers/virtio_net").mkdir(parents=True)
    (tmp_path / PCI / "virtio0" / "driver").symlink_to(tmp_path / "bus/virtio/drivers/virtio_net")
    net = tmp_path / "class/net/eth0"
    write(net / "speed", "10000")
    (net / "device").symlink_to(tmp_path / PCI / "virtio0")
    (tmp_path / "class/net/br0").mkdir(parents=True)
    return tmp_path


def test_card_is_described_by_the_pci_device_below_it(sysfs: Path) -> None:
    links = Links(no_tool, sys=sysfs)
    link = PaperLink(
        "eth0",
        IFLA_PERM_ADDRESS="52:54:00:AB:CD:EF",
        IFLA_ADDRESS="02:00:00:00:00:01",
        IFLA_CARRIER=1,
    )
    assert links._describe(link) == Card(
        name="eth0",
        mac="52:54:00:ab:cd:ef",
        driver="virtio_net",
        pci_id="0x1af4:0x1000",
        bus="0000:00:03.0",
        modalias="virtio:d00000001v00001AF4",
        carrier=True,
        speed=10000,
    )


def test_card_without_answers(sysfs: Path) -> None:
    """A card that is down: no speed, a carrier of old, no permanent address."""
    write(sysfs / "class/net/usb0/speed", "-1")
    (sysfs / "class/net/usb0/device").mkdir()
    card = Links(no_tool, sys=sysfs)._describe(
        PaperLink("usb0", flags=0, IFLA_ADDRESS="02:00:00:00:00:01", IFLA_CARRIER=1)
    )
    assert card == Card("usb0", "02:00:00:00:00:01")


def test_only_hardware_counts(sysfs: Path) -> None:
    links = Links(no_tool, sys=sysfs)
    assert links._has_hardware("eth0")
    assert not links._has_hardware("br0")
    assert not links._has_hardware("gone")
    (sysfs / "class/net/eth0/phy80211").mkdir()
    assert not links._has_hardware("eth0")


def test_other_names_that_udev_knows_a_card_by() -> None:
    names = PaperNames({"IFLA_ALT_IFNAME": ["enp0s3", "enx525400abcdef"]})
    card = Links(no_tool)._describe(PaperLink("eth0", IFLA_PROP_LIST=names))
    assert card.alternatives == ("enp0s3", "enx525400abcdef")


def test_lease_is_ended_once_and_only_where_it_was_begun() -> None:
    calls: list[list[str]] = []

    def note(argv: list[str], **options: object) -> Completed:
        calls.append(argv)
        return Completed(tuple(argv), 0, "", "")

    links = Links(note)  # type: ignore[arg-type]
    links.lease("eth0")
    links.release()
    links.release()
    assert [(argv[0], argv[-1]) for argv in calls] == [("dhcpcd", "eth0")] * 2
    assert "--exit" in calls[1] and "/dev/null" in calls[0]
