"""Systems that are installed: known by their own files, whatever else those say."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.identify.installed import (
    Findings,
    Location,
    describe_root,
    find_systems,
    is_boot,
    is_root,
    is_surely_root,
    locations_of,
    read_first_start,
    read_marker,
    volume_locations,
)
from payload.model.codec import DocumentError, to_json
from payload.model.disk import Content, FileSystem, Partition, PartitionTable
from payload.model.errors import ToolError
from payload.model.marker import BOOT_MARKER_PATH, MARKER_PATH, USED_PATH, Usage
from payload.model.volume import Layer, Segment, Volume
from tests.support.machines import disk, marker

EXT4 = FileSystem("ext4", "r00t")
PLACE = Location("serial:S1", 1, EXT4, ((("/dev/sda", 1 << 20, 8 << 30),),), "sda S1")
SERVER = {"etc/fstab": "", "etc/debian_version": "12.9\n", "sbin/init": ""}


def put(root: Path, files: dict[str, str]) -> Path:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# --- roots


@pytest.mark.parametrize(
    "sign", ["etc/os-release", "usr/lib/os-release", "etc/debian_version", "etc/redhat-release"]
)
def test_a_root_has_a_table_of_mounts_and_says_what_it_is(tmp_path: Path, sign: str) -> None:
    assert not is_root(tmp_path)
    assert not is_root(put(tmp_path, {sign: ""}))
    assert is_root(put(tmp_path, {"etc/fstab": ""}))


@pytest.mark.parametrize("name", ["etc/fstab", "etc/debian_version"])
def test_a_sign_that_is_no_file_is_none(tmp_path: Path, name: str) -> None:
    put(tmp_path, SERVER)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert not is_root(tmp_path)
    (tmp_path / name).rmdir()
    (tmp_path / name).symlink_to(Path(name).name)  # in a circle
    assert not is_root(tmp_path)


def test_signs_behind_links_mean_the_systems_own_files(tmp_path: Path) -> None:
    root = put(tmp_path / "root", {"etc/fstab": "", "usr/lib/os-release": ""})
    put(tmp_path, {"outside": ""})
    (root / "etc/os-release").symlink_to("/usr/lib/os-release")
    assert is_root(root)
    (root / "usr/lib/os-release").unlink()
    (root / "etc/debian_version").symlink_to(tmp_path / "outside")
    assert not is_root(root)


@pytest.mark.parametrize("init", ["sbin/init", "lib/systemd/systemd", "usr/lib/systemd/systemd"])
def test_a_root_is_sure_with_an_init(tmp_path: Path, init: str) -> None:
    put(tmp_path, {"etc/fstab": "", "etc/debian_version": ""})
    assert not is_surely_root(tmp_path)
    assert is_surely_root(put(tmp_path, {init: ""}))


def test_a_link_to_an_init_that_another_file_system_has_is_one(tmp_path: Path) -> None:
    put(tmp_path, {"etc/fstab": "", "etc/debian_version": "", "sbin/x": ""})
    (tmp_path / "sbin/init").symlink_to("/lib/systemd/systemd")
    assert is_surely_root(tmp_path)


def test_with_a_usr_of_its_own_the_link_to_it_is_enough(tmp_path: Path) -> None:
    put(tmp_path, {"etc/fstab": "", "etc/debian_version": ""})
    (tmp_path / "sbin").symlink_to("usr/sbin")
    assert is_surely_root(tmp_path)
    (tmp_path / "usr").mkdir()
    assert is_surely_root(tmp_path), "an empty directory to mount it at"
    put(tmp_path, {"usr/share/x": ""})
    assert not is_surely_root(tmp_path), "it is mounted, and has no init"


@pytest.mark.parametrize("name", ["etc/fstab", "etc/debian_version", "etc"])
def test_what_any_user_could_have_made_is_not_sure(tmp_path: Path, name: str) -> None:
    put(tmp_path, SERVER)
    assert is_surely_root(tmp_path)
    (tmp_path / name).chmod(0o777)
    assert is_root(tmp_path)
    assert not is_surely_root(tmp_path)


# --- /boot


@pytest.mark.parametrize("loader", ["grub", "grub2", "extlinux", "syslinux", "loader"])
def test_a_boot_has_kernels_beside_a_loader(tmp_path: Path, loader: str) -> None:
    assert not is_boot(put(tmp_path, {"vmlinuz-6.1": ""}))
    (tmp_path / loader).mkdir()
    assert is_boot(tmp_path)
    (tmp_path / "vmlinuz-6.1").unlink()
    assert not is_boot(tmp_path)


def test_a_kernel_that_any_user_could_have_put_there_is_no_boot(tmp_path: Path) -> None:
    put(tmp_path, {"vmlinuz-6.1": "", "grub/grub.cfg": ""})
    (tmp_path / "vmlinuz-6.1").chmod(0o666)
    assert not is_boot(tmp_path)


# --- what a system says of itself


def described(root: Path, **files: str) -> tuple[str, str, str]:
    names = {
        "release": "etc/os-release",
        "usr": "usr/lib/os-release",
        "debian": "etc/debian_version",
        "host": "etc/hostname",
        "ucr": "etc/univention/base.conf",
    }
    put(root, {names[key]: text for key, text in files.items()})
    found = describe_root(root, PLACE)
    return found.os_name, found.host_name, found.ucs_version


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, ("", "", "")),
        ({"release": 'NAME="A"\nPRETTY_NAME="Debian 12"\n'}, ("Debian 12", "", "")),
        ({"release": "NAME='A'\n"}, ("A", "", "")),
        ({"usr": "NAME=A\n#NAME=B\n"}, ("A", "", "")),
        ({"release": "PRETTY_NAME=\n", "debian": "12.9\n"}, ("Debian 12.9", "", "")),
        ({"debian": "\n# x\n 5.0 \n"}, ("Debian 5.0", "", "")),
        ({"host": "\n#x\n groupware \n"}, ("", "groupware", "")),
        ({"ucr": "hostname: master\nversion/version: 5.0\n"}, ("", "master", "5.0")),
        ({"ucr": "version/version: 5.0\nversion/patchlevel: 9\n"}, ("", "", "5.0-9")),
        ({"ucr": "version/patchlevel: 9\n"}, ("", "", "")),
        ({"ucr": "hostname: master\n", "host": "groupware\n"}, ("", "groupware", "")),
    ],
)
def test_names_of_the_system_and_the_host(
    tmp_path: Path, files: dict[str, str], told: tuple[str, str, str]
) -> None:
    assert described(tmp_path, **files) == told


@given(text=st.text(max_size=300))
def test_no_name_of_a_copied_system_controls_a_console(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    files = {"host": text, "ucr": f"version/version: {text}", "release": f"NAME={text}"}
    for name in described(tmp_path_factory.mktemp("root"), **files):
        assert name.isprintable()
        assert len(name) <= 100
        assert name == name.strip()


def test_a_system_is_where_its_file_system_is(tmp_path: Path) -> None:
    found = describe_root(tmp_path, PLACE)
    assert (found.disk, found.partition, found.volume) == ("serial:S1", 1, "")
    legs = ((Segment("serial:S1", 0, 5), Segment("serial:S2", 0, 5)),)
    volume = Volume("vg/root", Layer.LVM, "u", 10, legs)
    found = describe_root(tmp_path, replace(PLACE, volume=volume, number=0))
    assert (found.volume, found.more_disks) == ("vg/root", ("serial:S2",))


# --- marks of a copy


def test_a_copy_is_known_by_its_marker(tmp_path: Path) -> None:
    made = marker("A", "B")
    assert read_marker(tmp_path) is None
    put(tmp_path, {MARKER_PATH: to_json(made).decode()})
    assert read_marker(tmp_path) == made
    assert read_marker(tmp_path, BOOT_MARKER_PATH) is None


@given(noise=st.binary(max_size=60))
def test_a_marker_that_cannot_be_understood_is_never_no_marker(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    put(root, {MARKER_PATH: ""})
    (root / MARKER_PATH).write_bytes(noise)
    with pytest.raises(DocumentError):
        read_marker(root)


@pytest.mark.parametrize(("noted", "told"), [(1_772_359_200, 1_772_359_200), (0, 1)])
def test_the_first_start_is_when_its_file_was_made(tmp_path: Path, noted: int, told: int) -> None:
    assert read_first_start(tmp_path) == 0
    put(tmp_path, {USED_PATH: ""})
    os.utime(tmp_path / USED_PATH, (noted, noted))
    assert read_first_start(tmp_path) == told


def test_a_link_to_nothing_in_its_place_is_a_first_start_too(tmp_path: Path) -> None:
    (tmp_path / USED_PATH).parent.mkdir()
    (tmp_path / USED_PATH).symlink_to("nowhere")
    assert read_first_start(tmp_path) > 0


# --- where file systems are


def test_the_file_systems_of_a_disk_by_place() -> None:
    parts = (
        Partition(1, 1 << 20, 8 << 30, "83", file_system=EXT4),
        Partition(2, 9 << 30, 1 << 30, "82"),
        Partition(5, 10 << 30, 1 << 30, "83", file_system=FileSystem("xfs")),
    )
    table = PartitionTable("dos", "0x1", parts)
    one = disk("S1", Content(False, "seen", table))
    places = list(locations_of(one))
    assert [(place.number, place.name, place.legs) for place in places] == [
        (1, "partition 1", ((("/dev/sd-S1", 1 << 20, 8 << 30),),)),
        (5, "partition 5", ((("/dev/sd-S1", 10 << 30, 1 << 30),),)),
    ]
    assert (places[0].disk, places[0].size, places[0].options) == ("serial:S1", 8 << 30, ())


def test_a_file_system_on_the_whole_disk_and_a_disk_without_any() -> None:
    (place,) = locations_of(disk("S1", Content(False, "seen", file_system=EXT4)))
    assert (place.number, place.name, place.size) == (0, "the whole disk", 500 * 10**9)
    assert list(locations_of(disk("S1"))) == []
    assert list(locations_of(disk("S1", None))) == []


def test_only_volumes_that_are_resolved_have_a_place() -> None:
    legs = ((Segment("serial:S1", 7, 5), Segment("serial:S2", 0, 6)),)
    root = Volume("vg/root", Layer.LVM, "u", 11, legs, file_system=EXT4)
    others = (replace(root, legs=()), replace(root, file_system=None))
    disks = (disk("S1"), disk("S2"))
    (place,) = volume_locations(disks, (root, *others))
    assert (place.disk, place.name, place.size) == ("serial:S1", "vg/root", 11)
    assert place.legs == ((("/dev/sd-S1", 7, 5), ("/dev/sd-S2", 0, 6)),)


def test_a_subvolume_is_mounted_by_its_name() -> None:
    assert replace(PLACE, subvolume="@rootfs").options == ("subvol=@rootfs",)


# --- looking


class Trees:
    """Blocks and mounts: an image holds the superblocks, a directory stands for what is mounted,
    one for each set of options."""

    def __init__(self, image: Path, trees: dict[tuple[str, ...], Path]) -> None:
        self.image, self.trees = image, trees
        self.error: Exception | None = None
        self.mounted: list[tuple[str, ...]] = []

    @contextmanager
    def assemble(self, _legs: Any) -> Iterator[str]:
        if self.error:
            raise self.error
        yield str(self.image)

    @contextmanager
    def mount(self, _node: str, _kind: str, *, options: tuple[str, ...]) -> Iterator[Path]:
        self.mounted.append(options)
        yield self.trees[options]


def ext4_image(path: Path, *, clean: bool = True) -> Path:
    block = bytearray(2048)
    struct.pack_into("<I", block, 1024 + 0x2C, 1_772_359_140)
    struct.pack_into("<HHHH", block, 1024 + 0x34, 7, 0xFFFF, 0xEF53, int(clean))
    path.write_bytes(block)
    return path


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    (tmp_path / "root").mkdir()
    return Trees(ext4_image(tmp_path / "image"), {(): tmp_path / "root"})


def look(trees: Trees, *locations: Location) -> Findings:
    host: Any = SimpleNamespace(blocks=trees, mounts=trees)
    return find_systems(host, locations)


def kind(name: str, volume: Volume | None = None) -> Location:
    return replace(PLACE, file_system=FileSystem(name), volume=volume)


def test_a_server_is_found_with_its_marks_and_its_use(trees: Trees) -> None:
    made = marker("A", "B")
    put(trees.trees[()], {**SERVER, MARKER_PATH: to_json(made).decode(), USED_PATH: ""})
    os.utime(trees.trees[()] / USED_PATH, (5, 5))
    found = look(trees, PLACE)
    (system,) = found.systems
    assert (system.os_name, system.marker, system.started_at) == ("Debian 12.9", made, 5)
    assert system.usage == Usage("ext4", 7, 1_772_359_140)
    assert found == Findings(systems=[system])


def test_signs_that_anybody_could_have_made_are_a_doubtful_system(trees: Trees) -> None:
    root = put(trees.trees[()], SERVER)
    (root / "etc/fstab").chmod(0o666)
    found = look(trees, PLACE)
    assert (found.systems, len(found.doubtful)) == ([], 1)


def test_a_boot_of_its_own_tells_of_an_encrypted_system(trees: Trees) -> None:
    made = marker("A", "B")
    files = {"vmlinuz-6.1": "", "grub/x": "", BOOT_MARKER_PATH: to_json(made).decode()}
    put(trees.trees[()], files)
    found = look(trees, PLACE)
    (boot,) = found.boots
    assert (boot.encrypted, boot.marker, boot.usage) == (True, made, Usage("ext4"))
    assert (found.systems, found.doubtful) == ([], [])


def test_a_file_system_of_data_is_nothing(trees: Trees) -> None:
    put(trees.trees[()], {"data/x": ""})
    assert look(trees, PLACE) == Findings()


@pytest.mark.parametrize("subvolume", ["@", "@rootfs", "root"])
def test_a_root_in_a_subvolume_is_found_there(trees: Trees, tmp_path: Path, subvolume: str) -> None:
    put(tmp_path / "top", {f"{subvolume}/{name}": text for name, text in SERVER.items()})
    trees.trees[("subvolid=5",)] = tmp_path / "top"
    (system,) = look(trees, kind("btrfs")).systems
    assert system.subvolume == subvolume
    assert trees.mounted == [(), ("subvolid=5",)]


def test_a_root_in_the_default_subvolume_is_taken_first(trees: Trees) -> None:
    put(trees.trees[()], SERVER)
    (system,) = look(trees, kind("btrfs")).systems
    assert (system.subvolume, trees.mounted) == ("", [()])


def test_a_server_that_died_is_told(trees: Trees) -> None:
    ext4_image(trees.image, clean=False)
    put(trees.trees[()], SERVER)
    found = look(trees, PLACE)
    assert len(found.systems) == 1
    assert found.warnings == [
        (
            "The ext4 on partition 1 of sda S1 was not unmounted cleanly. It is looked at as it"
            " is, and copied as it is."
        )
    ]


@pytest.mark.parametrize("name", ["swap", "vfat", "iso9660", "squashfs"])
def test_kinds_that_hold_no_server_are_not_looked_into(trees: Trees, name: str) -> None:
    trees.error = ToolError("It must not be opened.")
    assert look(trees, kind(name)) == Findings()


def test_a_kind_nobody_can_look_into_is_hidden(trees: Trees) -> None:
    volume = Volume("vg/root", Layer.LVM, "u", 10)
    assert look(trees, kind("jfs")) == Findings(hidden=["jfs on partition 1"])
    assert look(trees, kind("jfs", volume)) == Findings(unseen={"vg/root"})
    assert look(trees, kind("crypto_LUKS")) == Findings(), "those are hidden already"


@pytest.mark.parametrize("error", [ToolError, OSError, DocumentError])
def test_what_cannot_be_looked_into_is_hidden_and_told(
    trees: Trees, error: type[Exception]
) -> None:
    trees.error = error("It broke.")
    found = look(trees, PLACE)
    assert found.hidden == ["ext4 on partition 1"]
    told = "The ext4 on partition 1 of sda S1 could not be looked into: It broke."
    assert found.warnings == [told]


def test_a_marker_that_cannot_be_read_hides_its_system(trees: Trees) -> None:
    put(trees.trees[()], {**SERVER, MARKER_PATH: "{}"})
    found = look(trees, PLACE)
    assert (found.systems, found.hidden) == ([], ["ext4 on partition 1"])
    assert "could not be looked into" in found.warnings[0]


def test_one_that_fails_does_not_stop_the_others(trees: Trees) -> None:
    put(trees.trees[()], SERVER)
    found = look(trees, kind("jfs"), PLACE, kind("swap"), replace(PLACE, number=2))
    assert [system.partition for system in found.systems] == [1, 2]
    assert found.hidden == ["jfs on partition 1"]
