"""What a menu starts when nobody chooses, from its files in a tree; and links within the system."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.boot.menu_files import (
    Start,
    find_file,
    find_start,
    read_grub_cfg,
    read_listed,
    read_menu_lst,
    read_snippets,
    read_text,
)
from payload.system.files import Place

OLD, NEW = "6.1.0-1-amd64", "6.1.0-18-amd64"


def put(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return root


def boot_files(root: Path, place: str = "boot/") -> None:
    for version in (OLD, NEW):
        put(root, {f"{place}vmlinuz-{version}": "k", f"{place}initrd.img-{version}": "i"})


def grub_cfg(version: str, place: str) -> str:
    return (
        f"menuentry x {{\n linux {place}vmlinuz-{version} root=/dev/sda1\n"
        f" initrd {place}early.img {place}initrd.img-{version}\n}}\n"
    )


def test_the_menu_decides_whichever_is_newer(tmp_path: Path) -> None:
    boot_files(tmp_path)
    put(tmp_path, {"boot/grub/grub.cfg": grub_cfg(OLD, "/boot/")})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.path) == (OLD, f"/boot/initrd.img-{OLD}")
    assert start.image == Place(tmp_path, f"/boot/initrd.img-{OLD}")


def test_a_boot_of_its_own_and_a_menu_of_grub_legacy(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", tmp_path / "boot"
    boot_files(boot, "")
    (root / "boot").mkdir(parents=True)
    menu = f"default 1\ntitle a\nkernel /vmlinuz-{NEW}\ntitle b\nkernel /vmlinuz-{OLD}\n"
    put(boot, {"grub/menu.lst": f"{menu}initrd /initrd.img-{OLD}\n"})
    start = find_start([root, boot], [OLD, NEW])
    assert start and start.image == Place(boot, f"/initrd.img-{OLD}")


def test_links_into_a_boot_of_its_own_are_followed(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", tmp_path / "boot"
    boot_files(boot, "")
    root.mkdir()
    (root / "vmlinuz").symlink_to(f"boot/vmlinuz-{OLD}")
    (root / "initrd.img").symlink_to(f"boot/initrd.img-{OLD}")
    put(root, {"etc/lilo.conf": "image=/vmlinuz\n label=Linux\n initrd=/initrd.img\n"})
    start = find_start([root, boot], [OLD, NEW])
    assert start and (start.version, start.image) == (OLD, Place(boot, f"/initrd.img-{OLD}"))


@pytest.mark.parametrize(
    ("root", "fixed"),
    [
        ("/dev/hda2", "/dev/hda2"),
        ("/dev/cciss/c0d0p2", "/dev/cciss/c0d0p2"),
        ("/dev/xvda1", "/dev/xvda1"),
        ("LABEL=root", ""),  # words for the initramfs
        ("/dev/disk/by-id/ata-X-part2", ""),
        ("/dev/mapper/vg-root", ""),
        ("/dev/vg/root", ""),
    ],
)
def test_lilo_alone_fixes_the_root_by_its_number(tmp_path: Path, root: str, fixed: str) -> None:
    boot_files(tmp_path)
    put(tmp_path, {"etc/lilo.conf": f"root={root}\nimage=/boot/vmlinuz-{OLD}\n label=a\n"})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.fixed_root) == (OLD, fixed)
    put(tmp_path, {"boot/extlinux/extlinux.conf": f"label a\n linux /boot/vmlinuz-{NEW}\n"})
    start = find_start([tmp_path], [OLD, NEW])
    assert start and (start.version, start.fixed_root) == (NEW, "")  # lilo.conf is a leftover


def test_without_a_menu_the_newest_with_an_initramfs(tmp_path: Path) -> None:
    boot_files(tmp_path)
    start = find_start([tmp_path], [OLD, NEW, "6.12.0-nothing"])
    assert start and start.version == NEW
    assert find_start([tmp_path], []) is None


def test_a_kernel_the_menu_names_and_nobody_knows_is_not_guessed(tmp_path: Path) -> None:
    """One with all drivers built in has no modules: whatever else is installed does not start."""
    boot_files(tmp_path)
    put(tmp_path, {"boot/own": "k", "boot/grub/grub.cfg": "menuentry x {\n linux /boot/own\n}\n"})
    assert find_start([tmp_path], [OLD, NEW]) is None


def test_without_a_menu_versions_are_compared_by_their_numbers(tmp_path: Path) -> None:
    versions = ["6.9.0", "6.10.0", "6.10.0-rc1"]
    put(tmp_path, {f"boot/initramfs-{version}.img": "i" for version in versions})
    start = find_start([tmp_path], versions[:2])
    assert start == Start(
        "6.10.0", Place(tmp_path, "/boot/initramfs-6.10.0.img"), "/boot/initramfs-6.10.0.img"
    )


def test_the_longest_version_that_fits_is_meant(tmp_path: Path) -> None:
    put(tmp_path, {"boot/vmlinuz-6.1.0-18-amd64": "k"})
    put(tmp_path, {"boot/grub/menu.lst": "title a\nkernel /boot/vmlinuz-6.1.0-18-amd64\n"})
    start = find_start([tmp_path], ["6.1.0-1", "6.1.0", "6.1.0-18-amd64"])
    assert start == Start("6.1.0-18-amd64")


def test_an_initramfs_that_is_gone_is_not_replaced_by_another(tmp_path: Path) -> None:
    boot_files(tmp_path)
    put(tmp_path, {"boot/grub/grub.cfg": grub_cfg(OLD, "/boot/")})
    (tmp_path / f"boot/initrd.img-{OLD}").unlink()
    assert find_start([tmp_path], [OLD, NEW]) is None


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    put(tmp_path, {"boot/full": "k", "boot/empty": ""})
    assert find_file([tmp_path], "/full") == Place(tmp_path, "/boot/full")
    for path in ("/empty", "/boot/empty", "/gone", "/boot", ""):
        assert find_file([tmp_path], path) is None


def test_a_link_out_of_the_tree_stays_in_it(tmp_path: Path) -> None:
    """A copy is full of absolute links that mean its own root."""
    outside = put(tmp_path / "outside", {"kernel": "not ours"})
    root = put(tmp_path / "root", {"boot/x": "k"})
    (root / "boot/kernel").symlink_to(outside / "kernel")
    (root / "boot/own").symlink_to("/boot/x")
    (root / "boot/up").symlink_to("../../outside/kernel")
    assert find_file([root], "/boot/kernel") is None
    assert find_file([root], "/boot/up") is None
    assert find_file([root], "/boot/own") == Place(root, "/boot/x")
    assert find_file([root], "/../outside/kernel") is None


def test_links_in_a_circle_are_an_error_of_the_system(tmp_path: Path) -> None:
    put(tmp_path, {"boot/grub/menu.lst": "title a\nkernel /boot/a\n"})
    (tmp_path / "boot/a").symlink_to("b")
    (tmp_path / "boot/b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        find_start([tmp_path], [OLD])


# --- menus of their files


def test_a_menu_goes_on_where_it_says_so_without_asking(tmp_path: Path) -> None:
    def entry(title: str) -> str:
        return f"menuentry {title} {{\n linux /{title}\n}}\n"

    put(tmp_path, {f"grub/{name}": entry(name) for name in ("a.cfg", "b.cfg", "c.cfg")})
    text = (
        "source $prefix/a.cfg\nconfigfile ${config_directory}/b.cfg\n  source ($root)/grub/c.cfg\n"
        "source /grub/gone.cfg\nsource $other/a.cfg\nsource relative.cfg\necho source /grub/a.cfg\n"
    )
    entries = read_grub_cfg(tmp_path, "/grub", text)
    assert [entry.title for entry in entries] == ["a.cfg", "b.cfg", "c.cfg"]


def test_a_menu_that_names_itself_comes_to_an_end(tmp_path: Path) -> None:
    text = "source /grub/grub.cfg\nmenuentry x {\n linux /x\n}\n"
    put(tmp_path, {"grub/grub.cfg": text})
    assert [one.title for one in read_grub_cfg(tmp_path, "/grub", text)] == ["x", "x"]


def test_entries_in_files_are_read_only_where_the_menu_asks_for_them(tmp_path: Path) -> None:
    put(tmp_path, {"boot/loader/entries/a.conf": "title a\nlinux /a\n"})
    put(tmp_path, {"boot/loader/entries/a.conf.rpmsave": "title b\nlinux /b\n"})
    assert read_listed(tmp_path, "insmod ext2\n", {}) == []
    assert [one.title for one in read_listed(tmp_path, "blscfg\n", {})] == ["a"]
    put(tmp_path, {"loader/entries/c.conf": "title c\nlinux /c\n"})
    assert [one.title for one in read_listed(tmp_path, "blscfg\n", {})] == ["c"]
    assert read_snippets(tmp_path, "/loader/entries") == {"c.conf": "title c\nlinux /c\n"}
    assert read_snippets(tmp_path, "/gone") == {}


@pytest.mark.parametrize("saved", ["1\n#\n", " 1", "1"])
def test_grub_legacy_starts_what_was_saved_last(tmp_path: Path, saved: str) -> None:
    text = "default saved\ntitle a\nkernel /a\ntitle b\nkernel /b\n"
    assert read_menu_lst(tmp_path, "/grub", text)[0].title == "a"
    put(tmp_path, {"grub/default": saved})
    assert read_menu_lst(tmp_path, "/grub", text)[0].title == "b"


def test_a_text_that_is_no_utf_8_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\xffb")
    assert read_text(tmp_path, "/x") == "a\ufffdb"
    assert read_text(tmp_path, "/gone") == ""


WORDS = [
    "menuentry",
    "x",
    "{",
    "}",
    "linux",
    "initrd",
    "title",
    "kernel",
    "/boot/a",
    "source",
    "\n",
]
WORDS += ["$prefix/grub.cfg", "default", "saved", "image=", "label", "blscfg", "../..", "\0", "'"]
WORDS += ["/a\0b", "set", "submenu", "/" + "d" * 5000, "=", "root=/dev/sda1", "${x}", "(hd0,0)/a"]


@given(
    st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join),
    st.sampled_from(
        ["boot/grub/grub.cfg", "boot/grub/menu.lst", "etc/lilo.conf", "extlinux/extlinux.conf"]
    ),
)
def test_any_menu_starts_something_known_or_nothing(
    shared_tree: Path, text: str, name: str
) -> None:
    put(shared_tree, {name: text})
    try:
        start = find_start([shared_tree], [OLD, NEW])
    except OSError:  # as the docstring says: a path longer than any
        return
    finally:
        (shared_tree / name).unlink()
    assert start is None or start.version in (OLD, NEW)


@pytest.fixture(scope="module")
def shared_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files for all examples of a property."""
    tree = tmp_path_factory.mktemp("tree")
    boot_files(tree)
    return put(tree, {"boot/a": "k"})


def test_a_menu_of_empty_lines_is_read_once(tmp_path: Path) -> None:
    """Each began a search for the next command: time by the square of their number."""
    begin = time.process_time()
    assert read_grub_cfg(tmp_path, "/boot/grub", "\n" * 200_000) == []
    assert time.process_time() - begin < 60, "a second or two; the rest is a slow machine"
