"""From a boot menu to kernel, initrd and root: what is missing is named, what is hidden is not.

From the firmware on, the same is tried in test_check.py.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from payload.finish.boot.menu_check import check_menu
from payload.finish.boot.menus import Menu
from payload.finish.volumes import Volume
from payload.formats.boot.boot_menu import Entry
from payload.formats.boot.boot_sector import EXTLINUX, GRUB_2, LILO
from payload.model.errors import AdaptError
from payload.model.volume import Layer
from payload.model.volume import Volume as LayeredVolume

BOOT = Volume(0, 1, 0, 0, "ext3", "b-boot", "BOOT", type_id="83")
ROOT = Volume(0, 5, 0, 0, "ext3", "a-root", part_uuid="part-5", type_id="83")
LOCKED = Volume(0, 6, 0, 0, "crypto_LUKS")
PLACE = "the boot menu is on partition 1 of disk 1"


@pytest.fixture
def trees(tmp_path: Path) -> dict[Volume, Path]:
    made = {BOOT: tmp_path / "boot", ROOT: tmp_path / "root"}
    for tree in made.values():
        tree.mkdir()
    for name in ("vmlinuz", "initrd", "early"):
        (made[BOOT] / name).write_text("x")
    (made[BOOT] / "empty").write_text("")
    return made


def entry(title: str = "x", **more: object) -> Entry:
    return Entry(title, **{"kernel": "/vmlinuz", **more})  # type: ignore[arg-type]


def check(
    trees: dict[Volume, Path], *entries: Entry, loader: str = GRUB_2, more: tuple[Volume, ...] = ()
) -> tuple[str, ...]:
    return check_menu(Menu(loader, BOOT, "/grub", entries), 0, [*trees, *more], trees).checks


def fault(trees: dict[Volume, Path], *entries: Entry, **more: str) -> str:
    with pytest.raises(AdaptError) as refusal:
        check(trees, *entries, **more)  # type: ignore[arg-type]
    return str(refusal.value)


def test_an_entry_that_works_is_told_with_all_it_starts(trees: dict[Volume, Path]) -> None:
    found = check(trees, entry(initrds=["/early", "/initrd"], root="UUID=a-root"))
    assert found == (
        PLACE,
        "/vmlinuz, /early, /initrd there and not empty",
        "root=UUID=a-root is a file system of the copy",
    )
    assert check(trees, entry()) == (PLACE, "/vmlinuz there and not empty")


def test_a_menu_without_entries_says_what_to_do(trees: dict[Volume, Path]) -> None:
    assert fault(trees) == (
        "The boot menu on partition 1 of disk 1 starts no Linux kernel, so the copy would stop at"
        " its menu. Repair the boot menu of the source, then copy again."
    )


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (entry(kernel="/gone"), "/gone is missing or empty"),
        (entry(kernel="/empty"), "/empty is missing or empty"),
        (entry(kernel="/"), "/ is missing or empty"),
        (entry(initrds=["/initrd", "/gone"]), "/gone is missing or empty"),
        (entry(root="/dev/sda7"), "no file system of the copy is called /dev/sda7"),
        (entry(root="UUID=gone"), "no file system of the copy is called UUID=gone"),
        (entry(root="LABEL=gone"), "no file system of the copy is called LABEL=gone"),
        (entry(root="PARTUUID=gone"), "no file system of the copy is called PARTUUID=gone"),
        (entry(uuid="gone"), "no file system of the copy has the UUID gone"),
        (entry(label="gone"), "no file system of the copy has the label gone"),
        (entry(number=7), "no file system of the copy is in partition 7"),
        (entry(number=1, elsewhere=True), "no file system of the copy is in partition 1"),
        (entry(uuid="a-root"), "/vmlinuz is missing or empty"),
        (entry(kernel="/../boot/vmlinuz", number=5), "/../boot/vmlinuz is missing or empty"),
        (entry(kernel="/a\0b"), "/a\0b is missing or empty"),
        (entry(kernel="/" + "a" * 5000), "is missing or empty"),
    ],
)
def test_what_is_missing_is_named(trees: dict[Volume, Path], broken: Entry, words: str) -> None:
    text = fault(trees, broken)
    assert text.startswith("The boot menu entry 'x' would not start: ")
    assert words in text
    assert text.endswith("copy again, or choose another entry at the screen.")


def test_every_fault_of_an_entry_is_told(trees: dict[Volume, Path]) -> None:
    text = fault(trees, entry(kernel="/a", initrds=["/b"], root="UUID=c"))
    assert "/a is missing or empty; /b is missing or empty; no file system of the copy" in text


@pytest.mark.parametrize(
    "works",
    [
        entry(uuid="b-boot"),
        entry(uuid="B-BOOT"),
        entry(label="BOOT"),
        entry(number=1),
        entry(uuid="$uuid"),  # known to the loader alone, so it is looked for beside the menu
        entry(kernel="$kernel"),
        entry(initrds=["$initrd"]),
        entry(root="PARTUUID=part-5"),
        entry(root="/dev/nvme0n1p5"),
        entry(root="/dev/mapper/vg-root"),
        entry(root="/dev/md0"),
    ],
)
def test_what_is_there_or_known_to_the_loader_alone_is_no_fault(
    trees: dict[Volume, Path], works: Entry
) -> None:
    assert check(trees, works)[0] == PLACE


def test_a_link_in_a_circle_is_missing(trees: dict[Volume, Path]) -> None:
    (trees[BOOT] / "a").symlink_to("b")
    (trees[BOOT] / "b").symlink_to("a")
    assert "/a is missing or empty" in fault(trees, entry(kernel="/a"))


def test_a_broken_entry_beside_the_default_is_a_warning(trees: dict[Volume, Path]) -> None:
    others = [entry(f"old {number}", kernel="/gone") for number in range(4)]
    menu = Menu(GRUB_2, BOOT, "/grub", (entry(), *others))
    (warning,) = check_menu(menu, 0, list(trees), trees).warnings
    assert warning == (
        "4 further entries of the boot menu do not start, at the source neither:"
        " 'old 0', 'old 1', 'old 2' and others."
    )
    fewer = replace(menu, entries=(entry(), others[0], entry("fine")))
    (warning,) = check_menu(fewer, 0, list(trees), trees).warnings
    assert warning.endswith("neither: 'old 0'.")
    assert check_menu(replace(menu, entries=(entry(),)), 0, list(trees), trees).warnings == ()


@pytest.mark.parametrize("kind", ["crypto_LUKS", "zfs_member", "bcache", "LVM2_member"])
def test_a_root_may_be_in_what_nobody_can_look_into(trees: dict[Volume, Path], kind: str) -> None:
    found = check(trees, entry(root="UUID=inside"), more=(replace(LOCKED, kind=kind),))
    assert found[-1] == "root=UUID=inside is in what cannot be looked into"


def test_members_hide_nothing_where_their_volumes_were_worked_out(
    trees: dict[Volume, Path],
) -> None:
    member = replace(LOCKED, kind="LVM2_member")
    volume = Volume(0, -1, 0, 0, "ext4", layered=LayeredVolume("vg/root", Layer.LVM, "u", 0))
    with pytest.raises(AdaptError, match="is called UUID=inside"):
        check(trees, entry(root="UUID=inside"), more=(member, volume))


def test_a_file_system_that_is_not_mounted_is_not_looked_into(trees: dict[Volume, Path]) -> None:
    found = check(trees, entry(number=6), more=(LOCKED,))
    assert found == (PLACE, "/vmlinuz not looked for: partition 6 of disk 1 cannot be looked into")


def test_lilo_has_the_paths_of_the_running_system(trees: dict[Volume, Path]) -> None:
    """Its /boot may be a file system of its own."""
    for path in ("/boot/vmlinuz", "/vmlinuz"):
        assert check(trees, entry(kernel=path), loader=LILO)[1].startswith(path)
    assert "/usr/vmlinuz is missing" in fault(trees, entry(kernel="/usr/vmlinuz"), loader=LILO)
    assert "/boot/vmlinuz is missing" in fault(trees, entry(kernel="/boot/vmlinuz"))


def test_extlinux_has_paths_beside_its_menu(trees: dict[Volume, Path]) -> None:
    (trees[BOOT] / "grub").mkdir()
    (trees[BOOT] / "grub/beside").write_text("x")
    for path in ("beside", "../vmlinuz", "/vmlinuz"):
        assert check(trees, entry(kernel=path), loader=EXTLINUX)[1].startswith(path)
    assert "vmlinuz is missing" in fault(trees, entry(kernel="vmlinuz"), loader=EXTLINUX)
