"""From a boot loader to its menu, on trees in a directory."""

from dataclasses import replace
from pathlib import Path

import pytest

from payload.finish.boot.menu_check import check_menu
from payload.finish.boot.menus import called_by_grub, find_menus, is_meant, read_menu, tops_of
from payload.finish.volumes import Volume
from payload.formats.boot.boot_sector import EXTLINUX, GRUB_2, GRUB_LEGACY, LILO, UNKNOWN, BootCode
from payload.model.errors import AdaptError
from payload.model.volume import Layer
from payload.model.volume import Volume as LayeredVolume
from tests.support.grub_legacy_stages import stage2

BOOT = Volume(0, 1, 0, 0, "ext3", "b-boot", type_id="83")
ROOT = Volume(0, 5, 0, 0, "ext3", "a-root", type_id="83")
CFG = "menuentry x {\n linux /vmlinuz\n}\n"


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def layered(name: str, layer: Layer = Layer.LVM, uuid: str = "u", group: str = "g") -> Volume:
    aliases = (f"mapper/vg-{name}", f"vg/{name}") if layer is Layer.LVM else (f"md/{name}",)
    made = LayeredVolume(name, layer, uuid, 0, group=group, aliases=aliases)
    return Volume(0, -1, 0, 0, "ext4", layered=made)


def test_a_menu_goes_on_in_another_file(tmp_path: Path) -> None:
    further = "menuentry x {\n linux /vmlinuz\n}\n"
    files = {"grub/grub.cfg": "source $prefix/custom.cfg\n", "grub/custom.cfg": further}
    tree = write(tmp_path, {**files, "vmlinuz": "k"})
    (menu,) = find_menus(BootCode("GRUB 2", ()), 0, {BOOT: tree})
    assert "/vmlinuz there and not empty" in check_menu(menu, 0, [BOOT], {BOOT: tree}).checks


def test_a_btrfs_may_begin_at_a_snapshot(tmp_path: Path) -> None:
    place = "@/.snapshots/12/snapshot"
    cfg = "menuentry x {\n linux /boot/vmlinuz root=UUID=c-root\n}\n"
    files = {f"{place}/boot/grub2/grub.cfg": cfg, f"{place}/boot/vmlinuz": "k"}
    volume = Volume(0, 3, 0, 0, "btrfs", "c-root")
    trees = {volume: write(tmp_path, files)}
    (menu,) = find_menus(BootCode("GRUB 2", (), "/boot/grub2", 3), 0, trees)
    assert "/boot/vmlinuz there and not empty" in check_menu(menu, 0, [volume], trees).checks


@pytest.mark.parametrize("device", ["lvm/vg-boot", "lvmid/aB-1/cD-2"])
def test_grub_names_a_volume(tmp_path: Path, device: str) -> None:
    def volume(name: str, uuid: str) -> Volume:
        aliases = (f"mapper/vg-{name}", f"vg/{name}")
        made = LayeredVolume(f"vg/{name}", Layer.LVM, uuid, 0, group="aB1", aliases=aliases)
        return Volume(0, -1, 0, 0, "ext4", layered=made)

    boot, root = volume("boot", "cD2"), volume("root", "eF3")
    cfg = f"menuentry x {{\n set root='{device}'\n linux /vmlinuz root=/dev/mapper/vg-root\n}}\n"
    files = {"grub/grub.cfg": cfg, "vmlinuz": "k"}
    other = write(tmp_path / "root", {"grub/grub.cfg": "menuentry y {\n linux /gone\n}\n"})
    trees = {root: other, boot: write(tmp_path / "boot", files)}
    (menu,) = find_menus(BootCode("GRUB 2", (), "/grub", device=device), 0, trees)
    assert menu.place == boot
    assert "/vmlinuz there and not empty" in check_menu(menu, 0, [root, boot], trees).checks


def test_menu_entries_in_files_of_their_own(tmp_path: Path) -> None:
    cfg = "search --no-floppy --fs-uuid --set=root b-boot\ninsmod blscfg\nblscfg\n"
    entry = (
        "title new\nlinux /vmlinuz-5.14\ninitrd /initramfs-5.14 $tuned_initrd\n"
        "options $kernelopts\n"
    )
    files = {"grub2/grub.cfg": cfg, "grub2/grubenv": "kernelopts=root=/dev/sda5 ro\n"}
    files["loader/entries/m-5.14.0-9.conf"] = entry
    files["loader/entries/m-5.14.0-10.conf"] = entry.replace("5.14", "5.14-10")
    tree = write(tmp_path / "boot", {**files, "vmlinuz-5.14-10": "k", "initramfs-5.14-10": "i"})
    code = BootCode("GRUB 2", (), "/grub2")
    menu = next(find_menus(code, 0, {BOOT: tree}))
    report = check_menu(menu, 0, [BOOT, ROOT], {BOOT: tree})
    assert "/vmlinuz-5.14-10, /initramfs-5.14-10 there and not empty" in report.checks
    assert "root=/dev/sda5 is a file system of the copy" in report.checks
    (tree / "grub2/grubenv").write_text("saved_entry=m-5.14.0-9\nkernelopts=root=/dev/sda5 ro\n")
    with pytest.raises(AdaptError, match=r"/vmlinuz-5\.14 is missing"):
        check_menu(next(find_menus(code, 0, {BOOT: tree})), 0, [BOOT, ROOT], {BOOT: tree})


# --- which file system is meant


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        (BootCode(GRUB_2, ()), [BOOT, ROOT]),
        (BootCode(GRUB_2, (), uuid="A-ROOT"), [ROOT]),
        (BootCode(GRUB_2, (), uuid="a-root", number=1), [ROOT]),
        (BootCode(GRUB_2, (), uuid="gone"), []),
        (BootCode(GRUB_2, (), number=1), [BOOT]),
        (BootCode(GRUB_2, (), number=1, elsewhere=True), []),
        (BootCode(GRUB_2, (), number=7), []),
    ],
)
def test_a_loader_means_what_it_names_or_any_file_system(
    code: BootCode, meant: list[Volume]
) -> None:
    assert [volume for volume in (BOOT, ROOT) if is_meant(code, 0, volume)] == meant


def test_the_partition_of_another_disk_is_meant_where_the_loader_says_so() -> None:
    other = replace(BOOT, disk=1)
    assert is_meant(BootCode(GRUB_2, (), number=1, elsewhere=True), 0, other)
    assert not is_meant(BootCode(GRUB_2, (), number=1), 0, other)
    assert is_meant(BootCode(GRUB_2, (), number=1), 1, other)


def test_a_name_that_no_volume_has_tells_nothing(tmp_path: Path) -> None:
    boot, root = layered("boot", uuid="u1"), layered("root", uuid="u2")
    trees = {boot: tmp_path, root: tmp_path}
    assert called_by_grub("lvm/vg-boot", trees) == [boot]
    assert called_by_grub("lvmid/g/u-2", trees) == [root]
    assert called_by_grub("lvm/other-boot", trees) == [boot, root]
    code = BootCode(GRUB_2, (), device="lvm/vg-root")
    assert [one for one in trees if is_meant(code, 0, one, trees)] == [root]
    array = layered("0", Layer.MD, "0123")
    assert called_by_grub("mduuid/01-23", {boot: tmp_path, array: tmp_path}) == [array]


# --- GRUB 2, LILO, extlinux


@pytest.mark.parametrize(
    "directory", ["boot/grub", "grub", "boot/grub2", "grub2", "boot/boot/grub"]
)
def test_without_a_directory_every_usual_one_is_looked_at(tmp_path: Path, directory: str) -> None:
    trees = {ROOT: write(tmp_path, {f"{directory}/grub.cfg": CFG})}
    (menu,) = find_menus(BootCode(GRUB_2, ()), 0, trees)
    assert (menu.loader, menu.place, menu.directory) == (GRUB_2, ROOT, f"/{directory}")
    assert [entry.kernel for entry in menu.entries] == ["/vmlinuz"]
    assert list(find_menus(BootCode(GRUB_2, (), "/elsewhere"), 0, trees)) == []


def test_each_loader_reads_its_own_files_alone(tmp_path: Path) -> None:
    files = {
        "boot/grub/grub.cfg": CFG,
        "etc/lilo.conf": "image=/lilo\n label=a\n",
        "boot/extlinux/extlinux.conf": "LABEL a\n KERNEL /ext\n",
        "boot/grub/menu.lst": "title a\nkernel /legacy\n",
    }
    trees = {ROOT: write(tmp_path, files)}
    for loader, kernels in ((GRUB_2, ["/vmlinuz"]), (LILO, ["/lilo"]), (EXTLINUX, ["/ext"])):
        menus = list(find_menus(BootCode(loader, ()), 0, trees))
        assert [entry.kernel for menu in menus for entry in menu.entries] == kernels
    assert list(find_menus(BootCode(UNKNOWN, ()), 0, trees)) == []


def test_a_menu_that_others_may_have_written_is_none(tmp_path: Path) -> None:
    trees = {ROOT: write(tmp_path, {"boot/grub/grub.cfg": CFG})}
    assert len(list(find_menus(BootCode(GRUB_2, ()), 0, trees))) == 1
    for place in ("boot/grub/grub.cfg", "boot/grub", "boot"):
        (tmp_path / place).chmod(0o777)
        assert list(find_menus(BootCode(GRUB_2, ()), 0, trees)) == []
        (tmp_path / place).chmod(0o755)


def test_an_empty_file_is_no_menu_and_one_without_entries_is(tmp_path: Path) -> None:
    write(tmp_path, {"a/grub.cfg": "", "b/grub.cfg": "set timeout=5\n"})
    assert list(read_menu(GRUB_2, ROOT, tmp_path, "/a/grub.cfg")) == []
    assert list(read_menu(GRUB_2, ROOT, tmp_path, "/gone/grub.cfg")) == []
    (menu,) = read_menu(GRUB_2, ROOT, tmp_path, "/b/grub.cfg")
    assert menu.entries == ()


# --- GRUB legacy


def test_stage_2_names_its_menu_on_its_own_partition_or_another(tmp_path: Path) -> None:
    boot, root = tmp_path / "boot", tmp_path / "root"
    trees = {
        BOOT: write(boot, {"grub/x": ""}),
        ROOT: write(root, {"m.lst": "title a\nkernel /r\n"}),
    }
    write(boot, {"m.lst": "title a\nkernel /b\n"})
    code = BootCode(GRUB_LEGACY, (), "/grub", 1, stage2="/grub/stage2")
    for told, kernel in ((b"/m.lst", "/b"), (b"(hd0,4)/m.lst", "/r")):
        (boot / "grub/stage2").write_bytes(stage2(told))
        (menu,) = find_menus(code, 0, trees)
        assert [entry.kernel for entry in menu.entries] == [kernel]
        assert menu.stage2 == "/grub/stage2"
    for told in (b"(hd1,4)/m.lst", b"(hd0,6)/m.lst", b"/gone.lst"):
        (boot / "grub/stage2").write_bytes(stage2(told))
        assert list(find_menus(code, 0, trees)) == []


def test_what_a_list_of_blocks_read_has_to_be_the_file(tmp_path: Path) -> None:
    content = stage2(b"/grub/menu.lst", first=40, partition=1)
    write(tmp_path, {"grub/menu.lst": "title a\nkernel /b\n"})
    (tmp_path / "grub/stage2").write_bytes(content)
    trees = {BOOT: tmp_path}
    for image, count in (
        (content, 1),
        (content + b"of the last sector", 1),
        (content[:-1], 0),
        (content[:-1] + b"\0", 0),
    ):
        code = BootCode(GRUB_LEGACY, (), "/grub", 1, image=image)
        assert len(list(find_menus(code, 0, trees))) == count


# --- where paths begin


def test_paths_begin_at_subvolumes_and_snapshots_the_newest_first(tmp_path: Path) -> None:
    for name in ("@", "@home", "other", *(f"@/.snapshots/{n}/snapshot" for n in (2, 10, 1))):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "@/.snapshots/11").mkdir()  # it holds no snapshot
    volume = Volume(0, 3, 0, 0, "btrfs", "c-root")
    tops = [str(top.relative_to(tmp_path)) for top in tops_of(volume, tmp_path)]
    snapshots = [f"@/.snapshots/{number}/snapshot" for number in (10, 2, 1)]
    assert tops == [".", "@", "@home", *snapshots]
    assert list(tops_of(ROOT, tmp_path)) == [tmp_path]


def test_a_subvolume_that_is_a_link_stays_in_its_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "real").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tree / "@in").symlink_to("/real")
    (tree / "@out").symlink_to(tmp_path / "outside")
    volume = Volume(0, 3, 0, 0, "btrfs", "c-root")
    assert list(tops_of(volume, tree)) == [tree, tree / "real"]
