"""Which disks may be considered at all: each reason, and that nothing unknown passes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.disk import Hardware
from payload.system.eligibility import SMALLEST, Circumstances, is_bystander, reason_against

DISK = Hardware("sda", "/dev/sda", 500 * 10**9, serial="S1", transport="sata")
PCI = "/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/"
LOCAL = Circumstances(sys_path=PCI)


@pytest.mark.parametrize(
    "name",
    [
        "sda",
        "sdab",
        "hda",
        "vda",
        "xvdb",
        "nvme0n1",
        "nvme10n2",
        "mmcblk0",
        "cciss!c0d0",
        "cciss/c0d1",
        "ida!c0d0",
    ],
)
def test_fixed_disks_may_be_considered(name: str) -> None:
    assert reason_against(replace(DISK, name=name), LOCAL) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sr0", "CD or DVD"),
        ("loop3", "loop device"),
        ("zram0", "memory"),
        ("ram1", "memory"),
        ("fd0", "floppy"),
        ("nbd0", "network disk (NBD)"),
        ("rbd0", "network disk (RADOS)"),
        ("drbd1", "network disk (DRBD)"),
        ("etherd!e0.0", "network disk (ATA over Ethernet)"),
        ("md127", "MD array"),
        ("md_d0", "MD array"),
        ("dm-0", "device-mapper"),
        ("bcache0", "cache volume"),
        ("mmcblk0boot0", "hidden part"),
        ("mtdblock0", "flash chip"),
        ("pmem0", "does not know"),
        ("sda1", "does not know"),
        ("nvme0c0n1", "does not know"),
    ],
)
def test_what_is_no_fixed_disk_is_named(name: str, reason: str) -> None:
    assert reason in reason_against(replace(DISK, name=name), LOCAL)


@pytest.mark.parametrize(
    ("disk", "facts", "reason"),
    [
        (DISK, replace(LOCAL, live_medium=True), "live medium"),
        (replace(DISK, removable=True), LOCAL, "removable"),
        (replace(DISK, transport="usb"), LOCAL, "external disk (USB)"),
        (DISK, Circumstances("/sys/devices/pci0/usb2/2-1/host6/block/sda/"), "external disk (USB)"),
        (DISK, Circumstances("/sys/devices/pci0/fw1/fw1.0/host6/block/sda/"), "FireWire"),
        (replace(DISK, name="mmcblk0"), replace(LOCAL, memory_card=True), "memory card"),
        (replace(DISK, name="nvme0n1"), replace(LOCAL, detachable=True), "external disk"),
        (replace(DISK, transport="iscsi"), LOCAL, "network disk (iSCSI)"),
        (DISK, Circumstances("/sys/devices/platform/host2/session1/t/block/sda/"), "(iSCSI)"),
        (replace(DISK, transport="fc"), LOCAL, "(Fibre Channel)"),
        (DISK, Circumstances("/sys/devices/pci0/host1/rport-1:0-0/t/block/sda/"), "Fibre Channel"),
        (DISK, replace(LOCAL, host_classes=("scsi_host", "srp_host")), "network disk (SRP)"),
        (DISK, replace(LOCAL, host_classes=("fc_host", "scsi_host")), "(Fibre Channel)"),
        (DISK, replace(LOCAL, host_classes=("iscsi_host", "scsi_host")), "(iSCSI)"),
        (DISK, replace(LOCAL, nvme_transports=("pcie", "tcp")), "NVMe over Fabrics"),
        (replace(DISK, size=0), LOCAL, "no medium"),
        (replace(DISK, size=SMALLEST - 512), LOCAL, "smaller than 64 MiB"),
        (replace(DISK, write_protected=True), LOCAL, "hardware protects"),
        (DISK, replace(LOCAL, uses=("mounted on /mnt", "swap")), "mounted on /mnt, swap"),
        (replace(DISK, serial=""), LOCAL, "no serial, WWN or path"),
    ],
)
def test_each_circumstance_has_its_reason(
    disk: Hardware, facts: Circumstances, reason: str
) -> None:
    assert reason in reason_against(disk, facts)


def test_a_disk_behind_a_sas_controller_is_no_network_disk() -> None:
    assert reason_against(DISK, replace(LOCAL, host_classes=("sas_host", "scsi_host"))) == ""


def test_a_local_nvme_disk_and_a_disk_known_by_path_alone_pass() -> None:
    nvme = replace(DISK, name="nvme0n1", transport="nvme")
    assert reason_against(nvme, replace(LOCAL, nvme_transports=("pcie",))) == ""
    assert reason_against(replace(DISK, serial="", path="pci-0000:00:1f.2-ata-1"), LOCAL) == ""


@given(st.text(min_size=1, max_size=12))
def test_no_unknown_name_is_ever_eligible(name: str) -> None:
    known = name.startswith(("sd", "hd", "vd", "xvd", "nvme", "mmcblk", "cciss", "ida"))
    assert known or reason_against(replace(DISK, name=name), LOCAL)


@pytest.mark.parametrize("transport", ["iscsi", "fc", "fcoe", "srp"])
def test_a_disk_of_a_storage_network_is_named(transport: str) -> None:
    assert "network disk" in reason_against(replace(DISK, transport=transport), LOCAL)


@pytest.mark.parametrize("name", ["wwn", "serial", "path"])
def test_one_lasting_name_is_enough(name: str) -> None:
    bare = Hardware("sda", "/dev/sda", DISK.size, transport="sata")
    assert reason_against(replace(bare, **{name: "x"}), LOCAL) == ""  # type: ignore[arg-type]
    assert "could be known again" in reason_against(bare, LOCAL)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        *((name, LOCAL) for name in ("sr0", "scd1", "loop3", "zram0", "ram1", "brd1", "fd0")),
        *((name, LOCAL) for name in ("md127", "md_d0", "dm-0", "mapper/x", "drbd1", "bcache0")),
        *((name, LOCAL) for name in ("mmcblk0boot0", "mmcblk1rpmb", "mtdblock0", "ubiblock0_1")),
        ("sda", replace(LOCAL, live_medium=True)),
        ("mmcblk0", replace(LOCAL, memory_card=True)),
    ],
)
def test_no_server_runs_from_these(name: str, facts: Circumstances) -> None:
    disk = replace(DISK, name=name)
    assert is_bystander(disk, facts)
    assert not replace(disk, ineligible=reason_against(disk, facts), bystander=True).unseen


@pytest.mark.parametrize(
    ("disk", "facts"),
    [
        (replace(DISK, transport="fc"), LOCAL),
        (DISK, replace(LOCAL, host_classes=("srp_host",))),
        (replace(DISK, transport="usb"), LOCAL),
        (replace(DISK, name="nvme0n1"), replace(LOCAL, detachable=True)),
        (replace(DISK, name="dasda"), LOCAL),
        (replace(DISK, name="etherd!e0.0"), LOCAL),
        (replace(DISK, name="xsr0"), LOCAL),
        (replace(DISK, write_protected=True), LOCAL),
        (DISK, replace(LOCAL, uses=("part of dm-0",))),
        (replace(DISK, serial=""), LOCAL),
        (DISK, replace(LOCAL, live_medium=True, uses=("mounted on /run/live/findiso",))),
    ],
)
def test_a_server_may_run_from_these_though_they_are_not_looked_into(
    disk: Hardware, facts: Circumstances
) -> None:
    assert not is_bystander(disk, facts)
    assert replace(disk, ineligible=reason_against(disk, facts)).unseen
    assert not replace(disk, ineligible="it is removable", removable=True).unseen


def test_an_eligible_disk_is_looked_into() -> None:
    assert not DISK.unseen
