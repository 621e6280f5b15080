"""An inventory and what follows from it, as people read them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.cli.inventory_text import WIDTH, render_decision, render_inventory
from payload.model.disk import Content, Disk, FileSystem, Hardware, Partition, PartitionTable
from payload.model.inventory import InstalledSystem, Inventory
from payload.model.machine import Card, Firmware, MachineIdentity
from payload.model.marker import CopyMarker, MachineReference, Usage
from payload.model.role import Decision, Ground, Permission, Role
from payload.model.volume import Layer, Segment, Volume

MIB = 1 << 20
TABLE = PartitionTable(
    "dos", "0x1234abcd", (Partition(1, MIB, 900 * MIB, "83", file_system=FileSystem("ext4", "1f")),)
)
DISK = Hardware("sda", "/dev/sda", 1000 * MIB, model="ST1", serial="S1", path="pci-1")
SOURCE = Inventory(
    machine=MachineIdentity(id="a" * 32, vendor="Dell", product="R1"),
    firmware=Firmware.BIOS,
    cards=(Card("eth0", "00:16:3e:00:00:01", "e1000", carrier=True),),
    disks=(
        Disk(DISK, Content(False, "an MBR with one partition", TABLE)),
        Disk(Hardware("sr0", "/dev/sr0", 0, ineligible="it is an optical drive")),
    ),
    systems=(InstalledSystem(DISK.id, 1, "ext4", "Debian 4.0", "groupware", "2.0"),),
)


def test_an_inventory_as_text() -> None:
    text = render_inventory(SOURCE)
    assert "machine  Dell R1 aaaaaaaa, BIOS firmware" in text
    assert "partition 1: 0.9 GB, ext4" in text
    assert "never used: it is an optical drive" in text
    assert 'system   Debian 4.0 UCS 2.0 called "groupware"' in text


@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_odd_names_stay_on_their_line(text: str) -> None:
    card = Card(text, text, text)
    system = InstalledSystem("serial:S1", 1, text, text, text)
    odd = replace(SOURCE, cards=(card,), systems=(system,), warnings=(text,))
    decision = Decision(Role.UNDECIDED, text, (text,))
    for line in (render_inventory(odd) + render_decision(decision)).split("\n"):
        assert len(line) <= 100
        assert all(" " <= character <= "~" for character in line)


# --- line by line


def disk_lines(disk: Disk) -> list[str]:
    text = render_inventory(replace(SOURCE, disks=(disk,)))
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("disk"))
    return [line for line in lines[first:] if not line.startswith("system")]


def test_a_disk_is_told_with_what_lies_on_it_below() -> None:
    odd = Partition(5, 1000 * MIB, 2 * MIB, "83")
    table = replace(TABLE, partitions=(*TABLE.partitions, Partition(2, 1, MIB, "5"), odd))
    assert disk_lines(Disk(DISK, Content(False, "an MBR", table))) == [
        "disk     sda ST1 S1 1.0 GB (serial:S1)",
        "           an MBR",
        "           partition 1: 0.9 GB, ext4",
        "           partition 2: 0.0 GB, extended",
        "           partition 5: 0.0 GB, no known content",
    ]


def test_blank_is_said_of_what_is_proven_to_be() -> None:
    assert disk_lines(Disk(DISK, Content(True, "zeros wherever it was looked at")))[1] == (
        "           blank: zeros wherever it was looked at"
    )
    assert "blank" not in str(disk_lines(Disk(DISK, Content(False, "noise"))))


def test_a_disk_that_was_not_looked_at_has_no_content() -> None:
    disk = Disk(replace(DISK, ineligible="it is on Fibre Channel"))
    assert disk_lines(disk)[1:] == ["           never used: it is on Fibre Channel"]


@pytest.mark.parametrize(
    ("card", "line"),
    [
        (Card("eth0", "m", "e1000", carrier=True), "eth0 m e1000 (link)"),
        (Card("eth0", "m", "e1000", carrier=True, speed=1000), "eth0 m e1000 (link, 1000 Mbit/s)"),
        (Card("eth0", "m", "", speed=1000), "eth0 m unknown driver (no link)"),
    ],
)
def test_a_card_and_its_link(card: Card, line: str) -> None:
    assert f"\ncard     {line}\n" in render_inventory(replace(SOURCE, cards=(card,)))


def legs(count: int) -> tuple[tuple[Segment, ...], ...]:
    return tuple((Segment(f"serial:S{n}", 0, 10**9),) for n in range(count))


VOLUME = Volume("vg/root", Layer.LVM, "u", 10**9, legs(1), file_system=FileSystem("ext4"))


@pytest.mark.parametrize(
    ("volume", "line"),
    [
        (VOLUME, "vg/root: 1.0 GB, ext4, on serial:S0"),
        (
            replace(VOLUME, legs=legs(2), file_system=None),
            "vg/root: 1.0 GB, no known content, mirrored, on serial:S0 and serial:S1",
        ),
        (
            replace(VOLUME, legs=(), why_not="it is a snapshot"),
            "vg/root: 1.0 GB, not looked into: it is a snapshot",
        ),
    ],
)
def test_a_volume_and_where_it_lies(volume: Volume, line: str) -> None:
    assert f"\nvolume   {line}\n" in render_inventory(replace(SOURCE, volumes=(volume,)))


def test_a_system_of_which_little_is_known() -> None:
    system = InstalledSystem("serial:S1", 0, "xfs", more_disks=("serial:S2",))
    text = render_inventory(replace(SOURCE, systems=(system,)))
    assert "system   an unknown system on serial:S1 and serial:S2 the whole disk (xfs)\n" in text


@pytest.mark.parametrize(("host_name", "label"), [("groupware", "groupware"), ("", "Dell R1 aaaa")])
def test_our_copy_is_told_from_a_server(host_name: str, label: str) -> None:
    made = CopyMarker(
        copy_id="c" * 32,
        source=MachineReference("a" * 32, "Dell R1 aaaa", host_name),
        target=MachineReference("b" * 32),
        disks=(),
        finished_at=0,
        usage=Usage("ext4"),
    )
    system = replace(SOURCE.systems[0], marker=made)
    text = render_inventory(replace(SOURCE, systems=(system,)))
    assert f"(our copy of {label})" in " ".join(text.split())
    assert "our copy" not in render_inventory(SOURCE)


def test_a_decision_names_what_is_lost() -> None:
    permission = Permission("serial:T1", Ground.BLANK, "zeros")
    decision = Decision(Role.TARGET, "blank", ("Disk sda is blank.", "No more."), (permission,))
    lines = [" ".join(line.split()) for line in render_decision(decision).splitlines()]
    assert lines == [
        "role target (blank)",
        "because Disk sda is blank.",
        "because No more.",
        "may be overwritten serial:T1: blank; on it now: zeros",
    ]


def test_a_long_line_goes_on_below_its_first_word() -> None:
    warning = " ".join(["sentence"] * 30)
    lines = render_inventory(replace(SOURCE, warnings=(warning,))).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("warning  "))
    assert len(lines[first:]) > 2
    assert all(line.startswith(" " * 9) and len(line) <= WIDTH for line in lines[first + 1 :])
    assert " ".join(" ".join(lines[first:]).split()) == f"warning {warning}"
