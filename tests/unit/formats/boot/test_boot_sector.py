"""The words in which boot sectors are told of."""

from uuid import UUID

from payload.formats.boot.boot_sector import (
    BIOS_BOOT,
    EXTLINUX,
    GRUB_2,
    GRUB_LEGACY,
    LILO,
    UNKNOWN,
    BootCode,
)


def test_the_type_of_a_bios_boot_partition_is_that_of_grub() -> None:
    """Its bytes on the disk are a sentence (GRUB manual, "BIOS installation")."""
    assert UUID(BIOS_BOOT).bytes_le == b"Hah!IdontNeedEFI"
    assert BIOS_BOOT.lower() == BIOS_BOOT, "as types of partitions are written here"


def test_every_loader_has_a_name_of_its_own() -> None:
    assert len({GRUB_2, GRUB_LEGACY, LILO, EXTLINUX, UNKNOWN}) == 5


def test_a_loader_that_tells_nothing_names_no_place() -> None:
    code = BootCode(LILO, ())
    assert (code.directory, code.number, code.uuid, code.device) == ("", None, "", "")
    assert (code.elsewhere, code.stage2, code.image) == (False, "", b"")
