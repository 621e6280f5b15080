"""Which program in a copied system can make its initramfs anew."""

from pathlib import Path

import pytest

from payload.formats.kernel.initramfs import Contents
from payload.formats.kernel.initramfs_makers import (
    DRACUT,
    INITRAMFS_TOOLS,
    find_maker,
    program_of,
)


def put(root: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


@pytest.mark.parametrize(
    ("installed", "sign", "maker"),
    [
        (["usr/sbin/mkinitramfs"], "", INITRAMFS_TOOLS),
        (["usr/bin/dracut"], "usr/lib/dracut/build-parameter.txt", DRACUT),
        (["usr/bin/dracut", "usr/sbin/mkinitramfs"], "conf/initramfs.conf", INITRAMFS_TOOLS),
        (["usr/bin/dracut", "usr/sbin/mkinitramfs"], "", ""),
        ([], "conf/initramfs.conf", ""),
    ],
)
def test_who_made_an_image_can_make_it_anew_where_it_is_installed(
    tmp_path: Path, installed: list[str], sign: str, maker: str
) -> None:
    put(tmp_path, dict.fromkeys(installed, "x"))
    assert find_maker(tmp_path, Contents(frozenset({sign}), {})) == maker


def test_a_sign_below_usr_is_the_same_sign(tmp_path: Path) -> None:
    put(tmp_path, {"usr/bin/dracut": "x", "usr/sbin/mkinitramfs": "x"})
    for sign in ("lib/dracut/build-parameter.txt", "usr/lib/dracut/build-parameter.txt"):
        assert find_maker(tmp_path, Contents(frozenset({sign, "init"}), {})) == DRACUT
    assert find_maker(tmp_path, Contents(frozenset({"x/conf/initramfs.conf"}), {})) == ""


@pytest.mark.parametrize(
    ("maker", "path"),
    [
        (INITRAMFS_TOOLS, "/usr/sbin/mkinitramfs"),
        (INITRAMFS_TOOLS, "/sbin/mkinitramfs"),
        (DRACUT, "/usr/bin/dracut"),
        (DRACUT, "/sbin/dracut"),
    ],
)
def test_a_program_is_found_at_each_of_its_places(tmp_path: Path, maker: str, path: str) -> None:
    put(tmp_path, {path[1:]: "x"})
    assert program_of(tmp_path, maker) == path
    other = DRACUT if maker == INITRAMFS_TOOLS else INITRAMFS_TOOLS
    assert program_of(tmp_path, other) == ""


def test_a_program_that_others_may_have_written_is_none(tmp_path: Path) -> None:
    """It is run as root, in the copy."""
    put(tmp_path, {"usr/bin/dracut": "x"})
    for place in ("usr/bin/dracut", "usr/bin", "usr"):
        before = (tmp_path / place).stat().st_mode
        (tmp_path / place).chmod(0o777)
        assert program_of(tmp_path, DRACUT) == ""
        assert find_maker(tmp_path, Contents(frozenset(), {})) == ""
        (tmp_path / place).chmod(before)
    assert program_of(tmp_path, DRACUT) == "/usr/bin/dracut"


def test_the_next_place_counts_where_the_first_holds_no_program(tmp_path: Path) -> None:
    put(tmp_path, {"sbin/dracut": "x"})
    (tmp_path / "usr/bin/dracut").mkdir(parents=True)
    assert program_of(tmp_path, DRACUT) == "/sbin/dracut"


def test_a_link_leads_within_the_system_only(tmp_path: Path) -> None:
    put(tmp_path, {"outside": "x", "root/opt/dracut": "x"})
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    link = root / "usr/bin/dracut"
    link.symlink_to("/opt/dracut")
    assert program_of(root, DRACUT) == "/usr/bin/dracut"
    link.unlink()
    link.symlink_to(tmp_path / "outside")
    assert program_of(root, DRACUT) == ""
