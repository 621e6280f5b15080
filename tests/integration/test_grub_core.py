"""What stands in the cores that grub-mkimage makes for all the places a menu may be in."""

from pathlib import Path

import pytest

from payload.finish.boot.efi_chain import Program, follow
from payload.finish.boot.grub_layout import Room, as_if_written, lay_out
from payload.finish.boot.grub_parts import LIVE_MODULES
from payload.finish.volumes import Volume
from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import BootCode
from payload.model.disk import MIB, SECTOR, Partition, PartitionTable
from payload.model.errors import LoaderError
from tests.support.server_image import tool

TABLE = PartitionTable("dos", "0x1", (Partition(1, MIB, 8 * MIB, "8e"),))
ROOM = Room(SECTOR, MIB - SECTOR, "the gap")
PLAIN = ("biosdisk", "part_msdos", "part_gpt", "ext2", "search_fs_uuid")
LAYERS = (*PLAIN, "lvm", "mdraid09", "mdraid1x", "xfs", "btrfs", "normal", "linux")


def mkimage(place: Path, form: str, prefix: str, config: str, *modules: str) -> bytes:
    options = []
    if config:
        place.with_suffix(".cfg").write_text(config)
        options = ["-c", str(place.with_suffix(".cfg"))]
    tool("grub-mkimage", "-O", form, "-p", prefix, "-o", str(place), *options, *modules)
    return place.read_bytes()


def read_core(core: bytes) -> BootCode:
    writes = lay_out((LIVE_MODULES / "boot.img").read_bytes(), core, ROOM)
    code = read_boot_code(as_if_written(writes), TABLE, "sda")
    assert code is not None
    assert f"core.img ({-(-len(core) // SECTOR)} sectors) is whole" in code.checks
    return code


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("(,msdos1)/boot/grub", BootCode("GRUB 2", (), "/boot/grub", 1)),
        ("(hd0,gpt2)/grub2", BootCode("GRUB 2", (), "/grub2", 2)),
        ("(hd1,msdos3)/grub", BootCode("GRUB 2", (), "/grub", 3, elsewhere=True)),
        ("(lvm/vg-root)/boot/grub", BootCode("GRUB 2", (), "/boot/grub", device="lvm/vg-root")),
        ("(lvmid/aB-1/cD-2)/grub", BootCode("GRUB 2", (), "/grub", device="lvmid/aB-1/cD-2")),
        ("(mduuid/0f1e2d)/boot/grub", BootCode("GRUB 2", (), "/boot/grub", device="mduuid/0f1e2d")),
        ("/boot/grub", BootCode("GRUB 2", (), "/boot/grub")),
    ],
)
def test_every_prefix_is_read(tmp_path: Path, prefix: str, expected: BootCode) -> None:
    core = mkimage(tmp_path / "core", "i386-pc", prefix, "", *LAYERS)
    assert len(core) > 62 * SECTOR, "larger than the gap of old tables: their own layout is kept"
    code = read_core(core)
    assert (code.directory, code.number, code.elsewhere) == (
        expected.directory, expected.number, expected.elsewhere,
    )  # fmt: skip
    assert code.device == expected.device


@pytest.mark.parametrize(
    ("config", "uuid", "device", "directory"),
    [
        ("search.fs_uuid ab-12 root hd0,msdos1 \nset prefix=($root)'/boot/grub'\n",
         "ab-12", "", "/boot/grub"),
        ("search.fs_uuid ab-12 root lvmid/a/b \nset prefix=($root)/grub\n", "ab-12", "", "/grub"),
        ("set root='lvm/vg-root'\nset prefix=($root)/grub\n", "", "lvm/vg-root", "/grub"),
        ("set prefix=(md/0)/boot/grub2\n", "", "md/0", "/boot/grub2"),
        ("search --no-floppy --fs-uuid --set=root ab-12\nconfigfile ($root)/grub2/grub.cfg\n",
         "ab-12", "", "/grub2"),
    ],
)  # fmt: skip
def test_the_script_inside_wins(
    tmp_path: Path, config: str, uuid: str, device: str, directory: str
) -> None:
    code = read_core(mkimage(tmp_path / "core", "i386-pc", "(,msdos7)/x", config, *PLAIN))
    assert (code.uuid, code.device, code.directory, code.number) == (uuid, device, directory, None)


def test_an_efi_program_tells_the_same(tmp_path: Path) -> None:
    esp, boot = Volume(0, 1, 0, 0, "vfat"), Volume(0, 2, 0, 0, "ext4", "ab-12")
    trees = {esp: tmp_path / "esp", boot: tmp_path / "boot"}
    program = trees[esp] / "EFI/debian/grubx64.efi"
    program.parent.mkdir(parents=True)
    config = "search.fs_uuid ab-12 root\nset prefix=($root)/grub\n"
    modules = ("part_gpt", "ext2", "normal")
    program.write_bytes(mkimage(tmp_path / "g", "x86_64-efi", "/x", config, *modules))
    (trees[boot] / "grub").mkdir(parents=True)
    with pytest.raises(LoaderError, match=r"is GRUB, and finds no grub\.cfg"):
        follow(Program(esp, "EFI/debian/grubx64.efi"), trees)
    (trees[boot] / "grub/grub.cfg").write_text("menuentry x {\n linux /vmlinuz\n}\n")
    chain = follow(Program(esp, "EFI/debian/grubx64.efi"), trees)
    assert chain.menu is not None
    assert (chain.menu.place, chain.menu.directory) == (boot, "/grub")
