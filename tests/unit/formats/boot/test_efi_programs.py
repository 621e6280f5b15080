"""EFI programs on a copy: found in any spelling, and the server's own made the fallback."""

from pathlib import Path, PurePosixPath

import pytest

from payload.formats.boot.efi_programs import (
    ESP_TYPES,
    add_fallback,
    efi_file,
    efi_files,
    fallback_program,
    own_program,
    plan_fallback,
)


def write(tree: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def test_the_servers_own_loader_becomes_the_fallback(tmp_path: Path) -> None:
    files = {"shimx64.efi": "shim", "grubx64.efi": "grub", "grub.cfg": "cfg", "fbx64.efi": "fb"}
    esp = write(tmp_path / "esp", {f"EFI/debian/{name}": text for name, text in files.items()})
    changes = add_fallback(esp)
    assert {path.name: path.read_text() for path in (esp / "EFI/BOOT").iterdir()} == {
        "BOOTX64.EFI": "shim",
        "grubx64.efi": "grub",
        "grub.cfg": "cfg",
    }
    assert len(changes) == 3
    assert add_fallback(esp) == ()


def test_without_shim_grub_itself_becomes_the_fallback(tmp_path: Path) -> None:
    esp = write(tmp_path / "esp", {"efi/redhat/grubx64.efi": "grub", "efi/redhat/grub.cfg": "cfg"})
    add_fallback(esp)
    fallback = {path.name: path.read_text() for path in esp.glob("*/BOOT/*")}
    assert fallback == {"BOOTX64.EFI": "grub", "grub.cfg": "cfg"}


def test_programs_are_found_two_directories_deep_in_any_spelling(tmp_path: Path) -> None:
    files = ("efi/debian/b.efi", "efi/debian/A.EFI", "efi/x.efi", "boot/y/z.efi", "efi/a/b/c.efi")
    write(tmp_path, dict.fromkeys(files, "x"))
    (tmp_path / "efi/debian/directory.efi").mkdir()
    assert [str(path) for path in efi_files(tmp_path)] == ["efi/debian/A.EFI", "efi/debian/b.efi"]
    assert efi_file(tmp_path, "EFI/Debian/a.efi") == PurePosixPath("efi/debian/A.EFI")
    assert efi_file(tmp_path, "EFI/Debian/c.efi") is None
    assert list(efi_files(tmp_path / "gone")) == []


def test_an_empty_program_is_none(tmp_path: Path) -> None:
    write(tmp_path, {"EFI/Boot/BootX64.efi": "", "EFI/debian/shimx64.efi": ""})
    assert fallback_program(tmp_path) is own_program(tmp_path) is None
    write(tmp_path, {"EFI/Boot/BootX64.efi": "x", "EFI/debian/GRUBX64.EFI": "x"})
    assert fallback_program(tmp_path) == PurePosixPath("EFI/Boot/BootX64.efi")
    assert own_program(tmp_path) == PurePosixPath("EFI/debian/GRUBX64.EFI")


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (["EFI/a/grubx64.efi", "EFI/b/shimx64.efi"], "EFI/b/shimx64.efi"),
        (["EFI/a/grub.efi", "EFI/a/grubx64.efi"], "EFI/a/grubx64.efi"),
        (["EFI/b/shimx64.efi", "EFI/a/shimx64.efi"], "EFI/a/shimx64.efi"),
        (
            ["EFI/systemd/systemd-bootx64.efi", "EFI/a/readme.efi"],
            "EFI/systemd/systemd-bootx64.efi",
        ),
        (["EFI/BOOT/grubx64.efi", "EFI/BOOT/shimx64.efi"], None),
        (["EFI/debian/shimia32.efi"], None),
    ],
)
def test_the_servers_own_loader_is_shim_before_what_shim_starts(
    tmp_path: Path, names: list[str], own: str | None
) -> None:
    write(tmp_path, dict.fromkeys(names, "x"))
    found = own_program(tmp_path)
    assert (found and str(found)) == own


def test_a_fallback_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"efi/boot/bootx64.efi": "theirs", "efi/debian/shimx64.efi": "shim"})
    assert plan_fallback(tmp_path) == {}
    assert add_fallback(tmp_path) == ()
    assert (tmp_path / "efi/boot/bootx64.efi").read_text() == "theirs"


def test_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    assert plan_fallback(tmp_path) == {}
    write(tmp_path, {"EFI/debian/readme.txt": "x"})
    assert add_fallback(tmp_path) == ()
    assert not (tmp_path / "EFI/BOOT").exists()


def test_what_shim_looks_for_comes_along_and_its_own_fallback_does_not(tmp_path: Path) -> None:
    names = ("shimx64.efi", "GRUBX64.EFI", "mmx64.efi", "MokManager.efi", "fbx64.efi", "x.csv")
    write(tmp_path, {f"EFI/redhat/{name}": name for name in names})
    assert plan_fallback(tmp_path) == {
        "EFI/BOOT/BOOTX64.EFI": "EFI/redhat/shimx64.efi",
        "EFI/BOOT/GRUBX64.EFI": "EFI/redhat/GRUBX64.EFI",
        "EFI/BOOT/MokManager.efi": "EFI/redhat/MokManager.efi",
        "EFI/BOOT/mmx64.efi": "EFI/redhat/mmx64.efi",
    }
    first, *_ = add_fallback(tmp_path)
    assert first.where == "/EFI/BOOT/BOOTX64.EFI"
    assert first.what == "on the EFI partition: a copy of its EFI/redhat/shimx64.efi"


def test_both_tables_name_the_type_of_an_efi_partition_in_lower_case() -> None:
    """UEFI specification, 5.2.2 and 5.3.3."""
    assert {"ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"} == ESP_TYPES
