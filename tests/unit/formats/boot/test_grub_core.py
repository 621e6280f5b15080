"""GRUB 2's boot.img and core.img: followed sector by sector, and what they tell of the menu."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.boot.boot_code import read_boot_code
from payload.formats.boot.boot_sector import BIOS_BOOT, BootCode
from payload.formats.boot.grub_core import CONFIG, PREFIX, read_grub2, read_objects, told_by
from payload.model.disk import MIB, Partition, PartitionTable
from payload.model.errors import AdaptError, LoaderError
from tests.support.boot_disks import ONE_PARTITION, boot_disk
from tests.support.grub_cores import core, diskboot, objects, rest_of_core

SECTOR = 512
GRUB2 = ((0x5A, b"\x00\x80\x01"), (0x180, b"GRUB \0Geom"))


def boot_sector(first: int = 1) -> bytes:
    """boot.img: the first sector of its core stands at byte 0x5C."""
    return struct.pack("<Q", first).rjust(0x64, b"\0").ljust(SECTOR, b"\0")


def read(*parts: tuple[int, bytes], first: int = 1, table: PartitionTable | None) -> BootCode:
    return read_grub2(boot_disk(*parts), boot_sector(first), table, "sda")


def test_a_whole_core_tells_directory_and_partition_of_its_menu() -> None:
    rest = rest_of_core("(,msdos5)/boot/grub")
    code = read(core(rest), table=ONE_PARTITION)
    assert (code.loader, code.directory, code.number) == ("GRUB 2", "/boot/grub", 5)
    assert (code.uuid, code.device, code.elsewhere) == ("", "", False)
    place, whole = code.checks
    assert place.endswith("points to its core in sector 1, in the gap before the first partition")
    assert whole == f"core.img ({1 + len(rest) // SECTOR} sectors) is whole"


def test_the_script_inside_counts_more_than_the_prefix() -> None:
    script = "search.fs_uuid a-root root\nset prefix=($root)'/@/boot/grub2'\n"
    code = read(core(rest_of_core("(hd0,gpt2)/boot/grub", script)), table=ONE_PARTITION)
    assert (code.uuid, code.directory, code.number) == ("a-root", "/@/boot/grub2", None)


def test_a_core_in_several_pieces_is_joined_in_their_order() -> None:
    rest = rest_of_core("(,gpt2)/grub")
    pieces = (
        (SECTOR, diskboot((20, 1), (5, len(rest) // SECTOR - 1))),
        (20 * SECTOR, rest[:SECTOR]),
        (5 * SECTOR, rest[SECTOR:]),
    )
    assert read(*pieces, table=None).directory == "/grub"
    turned = (
        (SECTOR, diskboot((5, len(rest) // SECTOR - 1), (20, 1))),
        *pieces[1:],
    )
    assert read(*turned, table=None).directory == ""


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (None, "in the gap before the first partition"),
        (ONE_PARTITION, "in the gap before the first partition"),
        (
            PartitionTable("gpt", "", (Partition(3, SECTOR, 30 * SECTOR, BIOS_BOOT),)),
            "in BIOS boot partition 3",
        ),
        (PartitionTable("dos", "", (Partition(2, SECTOR, MIB, "83"),)), "in partition 2"),
        (PartitionTable("dos", "", (Partition(2, 2 * SECTOR, MIB, "83"),)), "by a list of blocks"),
        (
            PartitionTable(
                "dos", "", (Partition(1, SECTOR, MIB, "5"), Partition(5, SECTOR, MIB, "83"))
            ),
            "in partition 5",
        ),
    ],
)
def test_where_the_core_lies_is_told(table: PartitionTable | None, place: str) -> None:
    code = read(core(rest_of_core("/boot/grub")), table=table)
    assert code.checks[0].endswith(f"its core in sector 1, {place}")


@pytest.mark.parametrize("first", [0, 2, 63, 64, 1 << 32])
def test_a_boot_sector_that_points_where_no_core_is_stops(first: int) -> None:
    with pytest.raises(LoaderError, match=f"points to sector {first}, where GRUB's core is not"):
        read(core(rest_of_core("/grub")), first=first, table=ONE_PARTITION)


@pytest.mark.parametrize("block", [(40, 4), (60, 5), (64, 1), (1 << 32, 1), (2, 0xFFFF)], ids=str)
def test_a_core_that_does_not_go_on_stops(block: tuple[int, int]) -> None:
    """Zeros, or the end of the disk."""
    begin, end = block[0], block[0] + block[1] - 1
    with pytest.raises(LoaderError, match=f"go on in sectors {begin} to {end}, and does not"):
        read((SECTOR, diskboot(block)), (2 * SECTOR, b"x"), table=ONE_PARTITION)


def test_a_core_of_an_older_layout_tells_nothing_of_its_menu() -> None:
    code = read(core(b"\x11" * 4 * SECTOR), table=ONE_PARTITION)
    assert (code.loader, code.directory, len(code.checks)) == ("GRUB 2", "", 1)
    alone = read((SECTOR, diskboot()), table=ONE_PARTITION)
    assert (alone.directory, len(alone.checks)) == ("", 1)


@given(st.binary(max_size=600))
def test_a_damaged_core_is_an_answer_or_an_error(noise: bytes) -> None:
    head = b"\x52" + bytes(499) + struct.pack("<QHH", 2, 4, 0x820)
    sizes = bytes(8) + struct.pack("<II", 64, 128)
    try:
        code = read_boot_code(
            boot_disk(*GRUB2, (512, head), (1024, sizes + b"\1" + noise)), ONE_PARTITION, "sda"
        )
    except AdaptError:
        return
    assert code is not None
    assert code.directory == ""


WHOLE = rest_of_core("(,msdos5)/boot/grub", "search.fs_uuid a-root root\n")


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=12))
def test_a_core_with_changed_bytes_is_an_answer_or_an_error(place: int, noise: bytes) -> None:
    rest = (WHOLE[:place] + noise + WHOLE[place + len(noise) :])[: len(WHOLE)]
    try:
        code = read(core(rest), table=ONE_PARTITION)
    except LoaderError:
        return
    assert code.loader == "GRUB 2"


# --- what is embedded


def test_only_prefix_and_script_are_read_from_what_is_embedded() -> None:
    area = objects((0, b"/x\0"), (PREFIX, b"/grub\0\xff\xff"), (CONFIG, b"\xffa\0"), (9, b"y"))
    assert read_objects(area) == {PREFIX: "/grub", CONFIG: "\ufffda"}
    assert read_objects(b"") == {}


@pytest.mark.parametrize("length", [0, 7])
def test_an_object_without_a_length_ends_them(length: int) -> None:
    area = objects((PREFIX, b"/a\0")) + struct.pack("<II", 1, length) + objects((CONFIG, b"b\0"))
    assert read_objects(area) == {PREFIX: "/a"}


def test_an_object_that_reaches_behind_the_end_is_cut_there() -> None:
    assert read_objects(struct.pack("<II", PREFIX, 1 << 31) + b"/grub") == {PREFIX: "/grub"}


@given(st.binary(max_size=200))
def test_any_area_gives_texts(area: bytes) -> None:
    found = read_objects(area)
    assert set(found) <= {PREFIX, CONFIG}
    assert all("\0" not in text for text in found.values())


# --- what they tell


@pytest.mark.parametrize(
    ("prefix", "number", "elsewhere", "device", "directory"),
    [
        ("/boot/grub", None, False, "", "/boot/grub"),
        ("(,msdos1)/boot/grub", 1, False, "", "/boot/grub"),
        ("(,gpt2)/grub2", 2, False, "", "/grub2"),
        ("(hd0,3)/grub", 3, False, "", "/grub"),
        ("(hd1,msdos3)/grub", 3, True, "", "/grub"),
        ("(lvm/vg-root)/boot/grub", None, False, "lvm/vg-root", "/boot/grub"),
        ("(mduuid/0123abcd)/grub", None, False, "mduuid/0123abcd", "/grub"),
        ("(memdisk)/boot/grub", None, False, "", "/boot/grub"),
        ("(hd0)/grub", None, False, "", "/grub"),
        ("", None, False, "", ""),
    ],
)
def test_a_prefix_tells_device_and_directory(
    prefix: str, number: int | None, elsewhere: bool, device: str, directory: str
) -> None:
    told = told_by(prefix, "")
    assert (told.number, told.elsewhere) == (number, elsewhere)
    assert (told.device, told.directory, told.uuid) == (device, directory, "")


@pytest.mark.parametrize(
    ("config", "uuid", "number", "device", "directory"),
    [
        ("search.fs_uuid u-1 root hd0,gpt2\nset prefix=($root)'/boot/grub'", "u-1", None, "",
         "/boot/grub"),
        ("search --no-floppy --fs-uuid --set=root u-1\nset prefix=($root)/grub", "u-1", None, "",
         "/grub"),
        ("search --fs-uuid --set=root u-1\nconfigfile ($root)/grub2/grub.cfg", "u-1", None, "",
         "/grub2"),
        ("set prefix=(hd0,msdos6)/grub", "", 6, "", "/grub"),
        ("search.fs_uuid u-1 root\nset prefix=(lvm/vg-boot)/grub", "", None, "lvm/vg-boot",
         "/grub"),
        ("set root='hd0,gpt4'\nset prefix=($root)/grub", "", 4, "", "/grub"),
        ("set root=(lvm/vg-root)\nconfigfile ($root)/boot/grub/grub.cfg", "", None, "lvm/vg-root",
         "/boot/grub"),
        ("search.fs_uuid u-1 root", "u-1", None, "", "/inside"),
        ("normal (memdisk)/grub.cfg", "", 9, "", "/inside"),
    ],
)  # fmt: skip
def test_a_script_tells_where_the_menu_is(
    config: str, uuid: str, number: int | None, device: str, directory: str
) -> None:
    told = told_by("(,msdos9)/inside", config)
    assert (told.uuid, told.number) == (uuid, number)
    assert (told.device, told.directory) == (device, directory)


WORDS = ["search", "--fs-uuid", "--set=root", ".fs_uuid", "u-1", "\n", "set", "prefix=(", "$root)"]
WORDS += ["configfile", "(hd1,gpt2)", "/grub.cfg", "set root='", "(", ")", "/", " ", "'", "hd0,999"]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=20), st.text(max_size=20))
def test_any_script_and_prefix_give_an_answer(words: list[str], prefix: str) -> None:
    for text in (" ".join(words), "".join(words)):
        for one, other in ((prefix, text), (text, prefix)):
            told = told_by(one, other)
            assert told.loader == "GRUB 2"
            assert not (told.uuid and told.number is not None)


def test_a_core_of_zeros_is_unpacked_a_few_times_only() -> None:
    """Each of 16,000 places may begin a stream of 4 MiB; together they took 23 minutes."""
    body = bytearray(300 * 512)
    struct.pack_into("<II", body, 8, 110_000, 4 << 20)
    begin = time.process_time()
    content = bytes(SECTOR) + core(bytes(body))[1]
    code = read_grub2(lambda at, size: content[at : at + size], boot_sector(), None, "sda")
    assert code.directory == ""
    assert time.process_time() - begin < 60, "a second or two; the rest is a slow machine"


@pytest.mark.parametrize(
    "text", ["search --fs-uuid ", "set prefix=(", "configfile (", "search --set=root "]
)
def test_a_script_of_one_word_again_and_again_is_read_once(text: str) -> None:
    """Each of these took time by the square or the cube of its length."""
    begin = time.process_time()
    told_by("", text * 100_000)
    assert time.process_time() - begin < 60, "a second or two; the rest is a slow machine"


@pytest.mark.parametrize(
    ("script", "uuid"),
    [
        ("search.fs_uuid 4711-ab root hd0,gpt2\n", "4711-ab"),
        ("x\n  search --no-floppy --fs-uuid --set=root 4711-ab\n", "4711-ab"),
        ("search --file --set=root /x\nsearch.fs_uuid 4711-ab root", "4711-ab"),
        ("search --set=root --fs-uuid 4711-ab\n", ""),
        ("echo --fs-uuid --set=root 4711-ab\n", ""),
        ("search.fs_uuid\n", ""),
    ],
)
def test_the_file_system_a_script_searches(script: str, uuid: str) -> None:
    assert told_by("", script).uuid == uuid
