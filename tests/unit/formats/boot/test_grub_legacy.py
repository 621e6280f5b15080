"""The stages of GRUB legacy: followed as stage 1 would, and what each tells of the next."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.boot.boot_sector import BootCode
from payload.formats.boot.grub_legacy import Stage, is_stage1, parse_stage, read_grub_legacy
from payload.model.errors import LoaderError
from tests.support.boot_disks import boot_disk
from tests.support.grub_legacy_stages import LOADED, stage1, stage1_5, stage2


def read(*parts: tuple[int, bytes]) -> BootCode:
    disk = boot_disk(*parts)
    return read_grub_legacy(disk, disk(0, 512), "sda")


def test_stage_1_is_known_by_its_version_and_its_name() -> None:
    sector = boot_disk(*stage1(1))(0, 512)
    assert is_stage1(sector)
    assert not is_stage1(sector.replace(b"GRUB", b"BURG"))
    assert not is_stage1(sector[:0x3E] + b"\x03\x01" + sector[0x40:])
    assert not is_stage1(b"")


def test_grub_legacy_tells_its_directory() -> None:
    code = read(*stage1(1), stage1_5(b"/grub", partition=3))
    assert (code.loader, code.stage2, code.directory) == ("GRUB legacy", "/grub/stage2", "/grub")
    assert (code.number, code.elsewhere) == (3, False)


def test_grub_legacy_may_have_its_files_on_another_disk() -> None:
    code = read(*stage1(1), stage1_5(b"/grub", drive=0x81))
    assert (code.number, code.elsewhere) == (1, True)


def test_grub_legacy_without_its_stage_1_5_stops() -> None:
    with pytest.raises(LoaderError, match=r"stage 1\.5 in sector 1, where it is not"):
        read(*stage1(1))


def test_grub_legacy_by_list_of_blocks() -> None:
    image = stage2(b"/boot/grub/menu.lst", first=40, partition=2)
    code = read(*stage1(40, LOADED), (40 * 512, image))
    assert "stage 2 in sector 40" in code.checks[0]
    assert (code.image, code.directory, code.number) == (image, "/boot/grub", 2)
    with pytest.raises(LoaderError, match="stage 2 in sector 40, where it is not"):
        read(*stage1(40, LOADED))


def test_a_list_of_blocks_that_reaches_behind_the_disk() -> None:
    image = stage2(b"/boot/grub/menu.lst", first=62, partition=2)
    with pytest.raises(LoaderError, match="sectors 63 to 64, which are not there"):
        read(*stage1(62, LOADED), (62 * 512, image[:1024]))


@pytest.mark.parametrize("name", [b"/grub/menu.lst", b"/grub/stage3"])
def test_a_stage_1_5_that_opens_no_stage_2_stops(name: bytes) -> None:
    content = stage1_5(b"/grub")[1].replace(b"/grub/stage2", name[:12].ljust(12, b"x"))
    with pytest.raises(LoaderError, match=r"stage 1\.5 in sector 1, where it is not"):
        read(*stage1(1), (512, content))


def test_a_stage_larger_than_any_is_refused_before_it_is_read_whole() -> None:
    lengths: list[int] = []
    head = bytearray(512)
    for number in range(20):
        struct.pack_into("<IHH", head, 504 - 8 * number, 100, 0xFFFF, 0x220)
    sector = boot_disk(*stage1(1, LOADED))(0, 512)

    def disk(offset: int, length: int) -> bytes:
        lengths.append(length)
        return bytes(head) if offset == 512 else bytes(length)

    with pytest.raises(LoaderError, match="which are not there"):
        read_grub_legacy(disk, sector, "sda")
    assert sum(lengths) <= 3 * 0xFFFF * 512


# --- a stage's head


@pytest.mark.parametrize(
    ("menu", "stage"),
    [
        (b"/grub/menu.lst", Stage("/grub/menu.lst", None, elsewhere=False, named=False)),
        (b"(hd0,1)/menu.lst", Stage("/menu.lst", 2, elsewhere=False, named=True)),
        (b"(hd1,0)/menu.lst", Stage("/menu.lst", 1, elsewhere=True, named=True)),
        (b"(hd0,0,a)/menu.lst", Stage("/menu.lst", 1, elsewhere=False, named=True)),
        (b"/menu.lst and more", Stage("/menu.lst", None, elsewhere=False, named=False)),
    ],
)
def test_stage_2_tells_where_its_menu_is(menu: bytes, stage: Stage) -> None:
    assert parse_stage(stage2(menu), is_stage1_5=False) == stage


def test_stage_2_tells_where_it_was_installed_where_its_menu_has_no_device() -> None:
    installed = parse_stage(stage2(b"/grub/menu.lst", first=40, partition=3), is_stage1_5=False)
    assert installed == Stage("/grub/menu.lst", 3, elsewhere=False, named=False)
    named = parse_stage(stage2(b"(hd0,0)/m", first=40, partition=3), is_stage1_5=False)
    assert named and named.number == 1


@pytest.mark.parametrize(
    ("drive", "elsewhere"), [(0xFF, False), (0x80, False), (0x81, True), (0x00, True)]
)
def test_a_stage_1_5_tells_drive_and_partition_of_stage_2(drive: int, elsewhere: bool) -> None:
    _, content = stage1_5(b"/boot/grub", partition=4, drive=drive)
    assert parse_stage(content, is_stage1_5=True) == Stage(
        "/boot/grub/stage2", 4, elsewhere=elsewhere, named=True
    )


@pytest.mark.parametrize(
    "image",
    [
        b"",
        bytes(1536),
        stage2(b"/grub/menu.lst")[:512],
        stage2(b"/grub/menu.lst").replace(b"\x03\x02", b"\x03\x01"),
        stage2(b"/grub/menu.lst").replace(b"0.97", b"1.97"),
        stage2(b"grub/menu.lst"),
        stage2(b""),
        stage2(b"(hd0)/menu.lst"),
        stage2(b"(hd0,1)menu.lst"),
    ],
)
def test_what_is_no_stage_is_none(image: bytes) -> None:
    assert parse_stage(image, is_stage1_5=False) is None


@given(st.binary(max_size=200), st.integers(0, 1000), st.booleans())
def test_any_bytes_are_a_stage_or_none(noise: bytes, place: int, is_stage1_5: bool) -> None:
    for whole in (noise, stage2(b"(hd0,1)/menu.lst"), stage1_5(b"/grub")[1]):
        image = whole[:place] + noise + whole[place + len(noise) :]
        stage = parse_stage(image, is_stage1_5=is_stage1_5)
        assert stage is None or stage.path.startswith("/")
        assert stage is None or stage.number is None or stage.number > 0


@given(st.binary(min_size=1, max_size=1536), st.integers(0, 2048))
def test_noise_behind_stage_1_is_an_answer_or_an_error(noise: bytes, place: int) -> None:
    for first, address in ((1, 0x2000), (2, LOADED)):
        head = (*stage1(first, address), (512, stage1_5(b"/grub")[1]))
        try:
            code = read(*head, (512 + place, noise))
        except LoaderError:
            continue
        assert code.loader == "GRUB legacy"
