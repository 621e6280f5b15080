"""Names of disks: changed where the copy's own kernel would know the disk by another one."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.storage.disk_map import CopiedDisk, DiskMap
from payload.finish.storage.storage_names import (
    DEVICES_FILE,
    apply_edit,
    find_unsolved,
    plan_storage_names,
    read_storage_files,
    rewrite_crypttab,
    rewrite_device_map,
    rewrite_fstab,
    rewrite_kernel_words,
    rewrite_lvm_conf,
    rewrite_mdadm_conf,
    rewrite_registry,
    rewrite_settings,
)
from payload.finish.volumes import Volume

BOOT, ROOT, SWAP, SPOOL = "b007-1", "c0de-2", "5a1a-5", "da7a-1"


def disk(
    before: str,
    now: str,
    place: int,
    volumes: Iterable[Volume] = (),
    *links: str,
    same: bool = False,
    others: tuple[str, ...] = (),
) -> CopiedDisk:
    table = {one.number: one for one in volumes}
    return CopiedDisk(before, now, place, frozenset(links), same, table, frozenset(others))


SYSTEM = (
    Volume(0, 1, 0, 1, "ext3", BOOT), Volume(0, 2, 1, 1, "ext3", ROOT),
    Volume(0, 3, 2, 1, "crypto_LUKS", "1ccc-3"), Volume(0, 5, 3, 1, "swap", SWAP),
    Volume(0, 6, 4, 1, "LVM2_member"),
)  # fmt: skip
DATA = (Volume(1, 1, 0, 1, "xfs", SPOOL),)
LINK = "ata-WDC_WD800_1234"
IDE_TO_SATA = DiskMap(
    (disk("hda", "sda", 0, SYSTEM, LINK, "pci-0000:00:07.1-ata-1"), disk("hdc", "sdb", 1, DATA)),
    frozenset({"sda", "sdb", "sdc"}),
)
SAME = DiskMap((disk("sda", "sda", 0, SYSTEM, LINK), disk("sdb", "sdb", 1, DATA)))
SWAPPED = DiskMap((disk("sda", "sdb", 0, SYSTEM), disk("sdb", "sda", 1, DATA)))

FSTAB = f"""\
# /etc/fstab
proc            /proc   proc    defaults 0 0
/dev/hda2       /       ext3    errors=remount-ro 0 1
  /dev/hda1\t/boot ext3 defaults 0 2
/dev/hda5       none    swap    sw 0 0
/dev/hda6       none    ignore
/dev/hdc1       /var/spool/cyrus xfs noatime 0 2
/dev/disk/by-id/{LINK}-part2 /old ext3 noauto 0 0
/dev/disk/by-path/ip-10.0.0.5:3260-iscsi-iqn.x-lun-0-part1 /san ext3 _netdev 0 0
/dev/mapper/vg-home /home ext3 defaults 0 2
/dev/hdd        /media/cdrom0 udf,iso9660 user,noauto 0 0
UUID=0815 /x ext4 defaults 0 0"""


def test_a_fstab_of_ide_disks_on_sata() -> None:
    lines = rewrite_fstab(FSTAB, IDE_TO_SATA).split("\n")
    old = FSTAB.split("\n")
    assert lines[2] == f"UUID={ROOT}       /       ext3    errors=remount-ro 0 1"
    assert lines[3] == f"  UUID={BOOT}\t/boot ext3 defaults 0 2"
    assert lines[4] == f"UUID={SWAP}       none    swap    sw 0 0"
    assert lines[5] == "/dev/sda6       none    ignore", "what has no UUID gets its new name"
    assert lines[6] == f"UUID={SPOOL}       /var/spool/cyrus xfs noatime 0 2"
    assert lines[7] == f"UUID={ROOT} /old ext3 noauto 0 0"
    assert lines[8:] == old[8:] and lines[:2] == old[:2]


def test_names_that_stay_are_left_alone_and_serial_numbers_never_stay() -> None:
    text = "/dev/sda2 / ext3 defaults 0 1\n/dev/sdb1 /srv xfs defaults 0 2\n"
    assert rewrite_fstab(text, SAME) == text
    by_id = f"/dev/disk/by-id/{LINK}-part2 / ext3 defaults 0 1\n"
    assert rewrite_fstab(by_id, SAME) == f"UUID={ROOT} / ext3 defaults 0 1\n"


def test_disks_that_trade_places() -> None:
    text = "/dev/sda2 / ext3\n/dev/sdb1 /srv xfs\n"
    assert rewrite_fstab(text, SWAPPED) == f"UUID={ROOT} / ext3\nUUID={SPOOL} /srv xfs\n"
    assert rewrite_device_map("(hd0)\t/dev/sda\n(hd1)\t/dev/sdb\n", SWAPPED) == (
        "(hd0)\t/dev/sdb\n(hd1)\t/dev/sda\n"
    )


def test_boot_menus_with_their_defaults_in_comments() -> None:
    menu = (
        "# kopt=root=/dev/hda2 ro\n# groot=(hd0,0)\ntitle Debian\nroot (hd0,0)\n"
        "kernel /vmlinuz-2.6.18 root=/dev/hda2 ro resume=/dev/hda5 quiet\ninitrd /initrd\n"
    )
    assert rewrite_kernel_words(menu, IDE_TO_SATA) == (
        f"# kopt=root=UUID={ROOT} ro\n# groot=(hd0,0)\ntitle Debian\nroot (hd0,0)\n"
        f"kernel /vmlinuz-2.6.18 root=UUID={ROOT} ro resume=UUID={SWAP} quiet\ninitrd /initrd\n"
    )
    settings = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet resume=/dev/hda5"\nchroot=/dev/hda1\n'
    assert rewrite_kernel_words(settings, IDE_TO_SATA) == (
        f'GRUB_CMDLINE_LINUX_DEFAULT="quiet resume=UUID={SWAP}"\nchroot=/dev/hda1\n'
    )


def test_a_kernel_without_an_initramfs_gets_names() -> None:
    files = {"/boot/grub/menu.lst": b"kernel /vmlinuz root=/dev/hda2 ro\n"}
    (edit,) = plan_storage_names(files, IDE_TO_SATA, bare=True)
    assert edit.content == b"kernel /vmlinuz root=/dev/sda2 ro\n"


def test_further_files() -> None:
    table = "crypt /dev/hda3 none luks\n# /dev/hda3\nswap /dev/hda6 /dev/urandom swap\n"
    assert rewrite_crypttab(table, IDE_TO_SATA) == (
        "crypt /dev/disk/by-uuid/1ccc-3 none luks\n# /dev/hda3\nswap /dev/sda6 /dev/urandom swap\n"
    )
    assert rewrite_settings("RESUME=/dev/hda5\n", IDE_TO_SATA) == f"RESUME=UUID={SWAP}\n"
    arrays = (
        "DEVICE /dev/hda1 /dev/hdc1\n"
        "ARRAY /dev/md0 level=raid1 UUID=1:2:3:4 devices=/dev/hda1,/dev/hdc1\n"
        "ARRAY /dev/md1 devices=/dev/hda1,/dev/hdc1\nMAILADDR root\n"
    )
    assert rewrite_mdadm_conf(arrays, IDE_TO_SATA) == (
        "DEVICE partitions\nARRAY /dev/md0 level=raid1 UUID=1:2:3:4\n"
        "ARRAY /dev/md1 devices=/dev/hda1,/dev/hdc1\nMAILADDR root\n"
    )
    stays = arrays.replace("hda", "sda").replace("hdc", "sdb")
    assert rewrite_mdadm_conf(stays, SAME) == stays


def test_hostile_filters_of_a_copy_come_to_an_end() -> None:
    hostile = f"({'|'.join('.' * 40)})*X"
    text = f'filter = [ "a|{hostile}|", "r|sda|" ]\n'
    assert rewrite_lvm_conf(text, IDE_TO_SATA) == text.replace("[ ", '[ "a|^/dev/sda|", ')
    long = 'filter = [ "a|' + '"a|' * 10_000 + "]"
    for endless in ("filter = [\n" * 100_000, long, "filter = [ ]\n" * 10_000):
        assert rewrite_lvm_conf(endless, IDE_TO_SATA) == endless


def test_filters_of_lvm_take_the_disk_by_its_new_name_too() -> None:
    text = 'devices {\n    # filter = [ "r|hda|" ]\n    filter = [ "a|/dev/hda|", "r|.*|" ]\n}\n'
    assert rewrite_lvm_conf(text, IDE_TO_SATA) == text.replace(
        'filter = [ "a|/dev', 'filter = [ "a|^/dev/sda|", "a|/dev'
    )
    once = rewrite_lvm_conf(text, IDE_TO_SATA)
    assert rewrite_lvm_conf(once, IDE_TO_SATA) == once
    for harmless in ('filter = [ "a/.*/" ]', 'filter = [ "r|/dev/cdrom|" ]', "filter = [ ]"):
        assert rewrite_lvm_conf(harmless, IDE_TO_SATA) == harmless
    only = 'global_filter = ["a|^/dev/hda6$|", "r|.*|"]'
    assert '"a|^/dev/sda|"' in rewrite_lvm_conf(only, IDE_TO_SATA)


def test_univentions_registry_writes_the_same_menu() -> None:
    text = (
        "grub/root: /dev/hda2\ngrub/append: root=/dev/hda2 resume=/dev/hda5\ngrub/boot: /dev/hda\n"
        "grub/groot: (hd0,0)\nhostname: /dev/hda2\n"
    )
    assert rewrite_registry(text, IDE_TO_SATA) == (
        f"grub/root: UUID={ROOT}\ngrub/append: root=UUID={ROOT} resume=UUID={SWAP}\n"
        "grub/boot: /dev/sda\ngrub/groot: (hd0,0)\nhostname: /dev/hda2\n"
    )


def put(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


def test_a_system_is_adapted_once_and_every_change_is_listed(tmp_path: Path) -> None:
    template = "/etc/univention/templates/files/etc/fstab"
    devices = "IDTYPE=sys_wwid IDNAME=t10.ATA DEVNAME=/dev/hda6 PVID=x\n"
    files = {
        "/etc/fstab": FSTAB, template: "/dev/hda2 / ext3 defaults 0 1\n",
        "/etc/blkid.tab": "<device/>", DEVICES_FILE: devices,
        "/etc/initramfs-tools/conf.d/resume": "RESUME=/dev/hda5\n",
        "/etc/mdadm/mdadm.conf": "DEVICE partitions\n",
    }  # fmt: skip
    put(tmp_path, files)
    edits = plan_storage_names(read_storage_files(tmp_path), IDE_TO_SATA)
    assert [edit.path for edit in edits] == [
        "/etc/fstab", "/etc/initramfs-tools/conf.d/resume", template, "/etc/blkid.tab",
        DEVICES_FILE,
    ]  # fmt: skip
    assert [edit.path for edit in edits if edit.is_in_initramfs] == [
        "/etc/initramfs-tools/conf.d/resume", DEVICES_FILE,
    ]  # fmt: skip
    assert edits[1].what == f"names of disks: /dev/hda5 became UUID={SWAP}"
    for edit in edits:
        apply_edit(tmp_path, edit)
    assert (tmp_path / "etc/mdadm/mdadm.conf").read_text() == "DEVICE partitions\n"
    assert not (tmp_path / "etc/blkid.tab").exists()
    assert plan_storage_names(read_storage_files(tmp_path), IDE_TO_SATA) == ()


def test_a_system_whose_names_stay_is_not_touched(tmp_path: Path) -> None:
    put(tmp_path, {"/etc/fstab": FSTAB.replace("/dev/hd", "/dev/x"), "/etc/blkid.tab": "x",
                   DEVICES_FILE: "IDTYPE=devname IDNAME=/dev/sda6 PVID=x\n"})  # fmt: skip
    same = DiskMap((disk("sda", "sda", 0, SYSTEM, same=True),))
    assert plan_storage_names(read_storage_files(tmp_path), same) == ()


@pytest.mark.parametrize("same", [False, True])
def test_names_that_may_change_at_any_boot_become_uuids(same: bool) -> None:
    """But behind the controller that the server has they held as well, or as badly, there."""
    disks = DiskMap((
        disk("sda", "sda", 0, SYSTEM, same=same, others=("sdb",)),
        disk("sdb", "sdb", 1, DATA, same=same, others=("sda",)),
    ))  # fmt: skip
    old = "/dev/sda2 / ext3 defaults 0 1\n/dev/sdb1 /srv xfs defaults 0 0\n"
    new = f"UUID={ROOT} / ext3 defaults 0 1\nUUID={SPOOL} /srv xfs defaults 0 0\n"
    assert rewrite_fstab(old, disks) == (old if same else new)
    assert rewrite_device_map("(hd0) /dev/sda\n", disks) == "(hd0) /dev/sda\n"
    filters = 'filter = [ "a|^/dev/sda|", "r|.*|" ]'
    wider = 'filter = [ "a|^/dev/sdb|", "a|^/dev/sda|", "r|.*|" ]'
    assert rewrite_lvm_conf(filters, disks) == (filters if same else wider)
    assert rewrite_lvm_conf(wider, disks) == wider


def test_a_disk_that_was_not_copied_and_has_a_namesake_here() -> None:
    only = DiskMap((disk("sda", "sda", 0, SYSTEM, same=True),), frozenset({"sda", "sdb"}))
    files = {"/etc/fstab": b"/dev/sdb1 /mail ext3 defaults 0 2\n/dev/sdc1 /x ext3 0 0\n"}
    (warning,) = find_unsolved(files, only)
    assert warning.startswith("The copy mounts /dev/sdb1 at /mail, a disk of the server that was")


def test_lilo_is_told_where_it_alone_starts_the_system() -> None:
    files = {"/etc/lilo.conf": b"boot=/dev/hda\nimage=/vmlinuz\n  root=/dev/hda2\n"}
    (warning,) = find_unsolved(files, IDE_TO_SATA)
    assert "/dev/hda2 as its root file system, which is /dev/sda2 here" in warning
    assert list(find_unsolved({**files, "/boot/grub/menu.lst": b"x"}, IDE_TO_SATA)) == []


REWRITES = [
    rewrite_fstab, rewrite_crypttab, rewrite_kernel_words, rewrite_settings, rewrite_device_map,
    rewrite_mdadm_conf, rewrite_lvm_conf, rewrite_registry,
]  # fmt: skip
WORDS = st.sampled_from(
    ["/dev/hda1", "/dev/hdc", "root=/dev/hda2", "resume=/dev/hda5", "#", "\n", "\t", " ", "DEVICE",
     "ARRAY", "UUID=1", "devices=/dev/hda1,/dev/hdc1", "(hd0) /dev/hda", "filter = [", '"a|hda|"',
     '"r|.*|"', "]", "grub/root: /dev/hda1", "RESUME=/dev/hda5", "/dev/hda99", "\r\n", "\xe4",
     '"a|*|"']
)  # fmt: skip


@given(st.lists(WORDS, max_size=20), st.sampled_from(REWRITES))
def test_twice_is_once_and_nothing_changes_without_need(words: list[str], rewrite) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(words)
    once = rewrite(text, IDE_TO_SATA)
    assert rewrite(once, IDE_TO_SATA) == once
    stays = DiskMap(
        (disk("hda", "hda", 0, SYSTEM, same=True), disk("hdc", "hdc", 2, DATA, same=True))
    )
    assert rewrite(text, stays) == text
