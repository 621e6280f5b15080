"""Modules, tools and menus count where nobody but the copied system's root can have put them."""

from pathlib import Path

import pytest

from payload.finish.boot.grub_parts import OWN_MODULES, Kit, find_kits
from payload.finish.boot.menus import Menu, find_menus
from payload.finish.boot.reinstall import own_trees
from payload.finish.volumes import Volume
from payload.formats.boot.boot_sector import GRUB_2, BootCode
from payload.system import files

ROOT = Volume(0, 1, 1 << 20, 1 << 30, kind="ext4", uuid="aaaa")
TEMPORARY = Volume(0, 2, 2 << 30, 1 << 30, kind="ext4", uuid="bbbb")
BOOT = Volume(0, 3, 3 << 30, 1 << 30, kind="ext4", uuid="cccc")
MENU = Menu(GRUB_2, ROOT, "/boot/grub", ())
MODULES = "/usr/lib/grub/i386-pc"
NAMES = ("boot.img", "kernel.img", "diskboot.img", "lzma_decompress.img", "moddep.lst")


def plant(tree: Path) -> None:
    for path in (*(f"{MODULES}/{name}" for name in NAMES), "/usr/bin/grub-mkimage"):
        place = tree / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text("menuentry x { linux /vmlinuz }\n")


@pytest.fixture
def trees(tmp_path: Path) -> dict[Volume, Path]:
    """The root holds the system, a /tmp of its own what a user put there."""
    root, temporary, boot = tmp_path / "root", tmp_path / "tmp", tmp_path / "boot"
    for tree in (root, temporary, boot):
        tree.mkdir()
    (root / "etc").mkdir()
    (root / "etc/fstab").write_text("UUID=aaaa / ext4\nUUID=bbbb /tmp ext4\nUUID=cccc /boot ext4\n")
    plant(temporary)
    temporary.chmod(0o1777)
    return {TEMPORARY: temporary, ROOT: root, BOOT: boot}


def kits(trees: dict[Volume, Path], live: Path = Path("/nowhere")) -> list[Kit]:
    return list(find_kits(MENU, own_trees(list(trees), trees, ROOT), live))


def test_a_users_program_in_a_tmp_of_its_own_is_none(trees: dict[Volume, Path]) -> None:
    assert kits(trees) == []
    assert list(own_trees(list(trees), trees, ROOT)) == [ROOT, BOOT]
    plant(trees[ROOT])
    assert kits(trees) == [
        Kit(MODULES, "/usr/bin/grub-mkimage", trees[ROOT], OWN_MODULES),
        Kit(MODULES, "", trees[ROOT], OWN_MODULES),
    ]


def test_it_is_none_either_where_it_is_looked_at(trees: dict[Volume, Path]) -> None:
    assert list(find_kits(MENU, trees, Path("/nowhere"))) == []


def test_a_tool_below_a_directory_of_others_is_not_run(trees: dict[Volume, Path]) -> None:
    plant(trees[ROOT])
    (trees[ROOT] / "usr/bin").chmod(0o777)
    assert [kit.tool for kit in kits(trees)] == [""]
    (trees[ROOT] / MODULES[1:]).chmod(0o777)
    assert kits(trees) == []


def test_what_somebody_else_owns_is_not_taken(
    trees: dict[Volume, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(trees[ROOT])
    monkeypatch.setattr(files, "ROOT", files.ROOT + 1)
    assert kits(trees) == []


def test_menus_of_users_are_none(trees: dict[Volume, Path]) -> None:
    assert list(find_menus(BootCode(GRUB_2, ()), 0, trees)) == []
    plant(trees[ROOT])
    assert [menu.place for menu in find_menus(BootCode(GRUB_2, ()), 0, trees)] == [ROOT]
