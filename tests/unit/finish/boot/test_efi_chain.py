"""From an EFI program to its menu, as a firmware would go.

With kernel and root behind it, the same is tried in test_check.py.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.boot.efi_chain import Chain, Program, follow, read_listing
from payload.finish.volumes import Volume
from payload.model.errors import LoaderError
from tests.support.efi_programs import grub, listing, shim

ESP = Volume(0, 2, 0, 0, "vfat", "e-esp", type_id="c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT = Volume(0, 5, 0, 0, "ext3", "a-root", type_id="83")
STUB = "search.fs_uuid a-root root hd0,gpt5\nset prefix=($root)'/boot/grub'\n"
CFG = "menuentry x {\n linux /vmlinuz\n}\n"
BARE = "normal (memdisk)/grub.cfg"  # of a GRUB that a distribution signed


def put(tree: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    return tree


@pytest.fixture
def trees(tmp_path: Path) -> dict[Volume, Path]:
    """An empty EFI partition, and a root file system with a menu."""
    (tmp_path / "esp").mkdir()
    return {
        ESP: tmp_path / "esp",
        ROOT: put(tmp_path / "root", {"boot/grub/grub.cfg": CFG.encode()}),
    }


def chain(trees: dict[Volume, Path], path: str, **files: bytes) -> Chain:
    """`files` lie in EFI/debian, their names without ".efi"."""
    put(trees[ESP], {f"EFI/debian/{name}.efi": content for name, content in files.items()})
    return follow(Program(ESP, path), trees)


SHIM = "EFI/debian/shimx64.efi"


def test_shim_leads_to_the_grub_beside_it_and_its_stub_to_the_menu(
    trees: dict[Volume, Path],
) -> None:
    put(trees[ESP], {"EFI/debian/grub.cfg": STUB.encode()})
    found = chain(trees, SHIM, shimx64=shim(), grubx64=grub("/EFI/debian", BARE))
    assert found.checks == (
        f"{SHIM} is on the EFI partition, partition 2 of disk 1",
        "shim starts EFI/debian/grubx64.efi",
        "EFI/debian/grubx64.efi has its menu there",
    )
    assert found.menu and (found.menu.place, found.menu.directory) == (ROOT, "/boot/grub")
    assert found.loader == "GRUB 2"


def test_an_older_shim_names_another_second_stage(trees: dict[Volume, Path]) -> None:
    found = chain(trees, SHIM, shimx64=shim("grub.efi"), grub=grub("(,gpt5)/boot/grub"))
    assert found.checks[1] == "shim starts EFI/debian/grub.efi"
    assert found.menu and found.menu.place == ROOT


@pytest.mark.parametrize("content", [b"", None])
def test_a_program_that_is_missing_or_empty_says_what_to_do(
    trees: dict[Volume, Path], content: bytes | None
) -> None:
    files = {} if content is None else {"grubx64": content}
    with pytest.raises(LoaderError) as refusal:
        chain(trees, SHIM, shimx64=shim(), **files)
    assert str(refusal.value) == (
        "EFI/debian/grubx64.efi on the EFI partition, partition 2 of disk 1, is missing or empty,"
        " so the copy does not start by it. Run grub-install at the source, then copy again."
    )


def test_shims_that_start_each_other_come_to_an_end(trees: dict[Volume, Path]) -> None:
    found = chain(trees, SHIM, shimx64=shim(), grubx64=shim())
    assert found.menu is None
    assert len(found.checks) <= 5


@pytest.mark.parametrize("path", ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/bootx64.efi"])
def test_shim_at_the_fallback_place_starts_what_the_first_list_names(
    trees: dict[Volume, Path], path: str
) -> None:
    put(trees[ESP], {"EFI/BOOT/BOOTX64.EFI": shim(), "EFI/BOOT/fbx64.efi": b"MZ"})
    with pytest.raises(LoaderError, match=r"finds no BOOTX64\.CSV"):
        chain(trees, path)
    put(trees[ESP], {"EFI/BOOT/BOOTX64.CSV": listing("nothing.efi")})
    with pytest.raises(LoaderError, match=r"finds no BOOTX64\.CSV"):
        chain(trees, path)
    put(trees[ESP], {"EFI/debian/BOOTX64.CSV": listing("grubx64.efi", "other.efi")})
    found = chain(trees, path, grubx64=grub("(,gpt5)/boot/grub"))
    assert found.checks[1] == "shim starts EFI/debian/grubx64.efi"


@pytest.mark.parametrize(
    ("prefix", "config", "number"),
    [
        ("(,gpt5)/boot/grub", "", 5),
        ("(hd0,gpt5)/boot/grub", "", 5),
        ("/boot/grub", "search.fs_uuid a-root root\nset prefix=($root)/boot/grub\n", 5),
    ],
)
def test_a_grub_made_for_the_machine_has_its_way_inside(
    trees: dict[Volume, Path], prefix: str, config: str, number: int
) -> None:
    found = chain(trees, "EFI/debian/x.efi", x=grub(prefix, config))
    assert found.menu and found.menu.place.number == number


def test_the_first_grub_cfg_may_be_the_menu_itself(trees: dict[Volume, Path]) -> None:
    put(trees[ESP], {"efi/fedora/grub.cfg": CFG.encode(), "efi/fedora/x.efi": grub("/EFI/fedora")})
    found = follow(Program(ESP, "EFI/fedora/x.efi"), trees)
    assert found.menu and (found.menu.place, found.menu.directory) == (ESP, "/efi/fedora")


def test_entries_of_a_first_grub_cfg_may_lie_on_the_file_system_it_names(
    trees: dict[Volume, Path],
) -> None:
    put(trees[ROOT], {"loader/entries/a.conf": b"title a\nlinux /a\n"})
    script = b"search --no-floppy --fs-uuid --set=root a-root\nblscfg\n"
    put(trees[ESP], {"EFI/debian/grub.cfg": script})
    found = chain(trees, "EFI/debian/x.efi", x=grub("/EFI/debian", BARE))
    assert found.menu and found.menu.place == ROOT
    assert [entry.kernel for entry in found.menu.entries] == ["/a"]


@pytest.mark.parametrize("prefix", ["/EFI/debian", "(,gpt7)/boot/grub", "(,gpt5)/gone", ""])
def test_a_grub_without_a_menu_stops_at_a_prompt(trees: dict[Volume, Path], prefix: str) -> None:
    with pytest.raises(LoaderError, match=r"is GRUB, and finds no grub\.cfg of the copy"):
        chain(trees, "EFI/debian/x.efi", x=grub(prefix, BARE))


def test_a_program_that_keeps_its_way_to_itself_has_no_menu(trees: dict[Volume, Path]) -> None:
    found = chain(trees, "EFI/debian/x.efi", x=b"MZ mimg")
    assert (found.menu, found.loader, len(found.checks)) == (None, "UEFI", 1)


def test_systemd_boot_has_its_entries_beside_it(trees: dict[Volume, Path]) -> None:
    put(trees[ESP], {"loader/entries/a.conf": b"title a\nlinux /a\n"})
    found = chain(trees, "EFI/debian/x.efi", x=b"MZ #### LoaderInfo: systemd-boot 252 ####")
    assert found.menu and (found.menu.place, found.menu.directory) == (ESP, "/loader")
    assert found.loader == "systemd-boot"


@given(st.binary(max_size=120), st.integers(0, 400), st.sampled_from([shim(), grub("/x", STUB)]))
def test_any_program_leads_somewhere_or_nowhere(
    shared_trees: dict[Volume, Path], noise: bytes, place: int, program: bytes
) -> None:
    content = program[:place] + noise + program[place + len(noise) :]
    try:
        found = chain(shared_trees, SHIM, shimx64=content)
    except LoaderError:
        return
    assert found.checks and (found.menu is None) == (found.loader == "UEFI")


@pytest.fixture(scope="module")
def shared_trees(tmp_path_factory: pytest.TempPathFactory) -> dict[Volume, Path]:
    """The same directories for all examples of a property."""
    return {ESP: tmp_path_factory.mktemp("esp")}


# --- BOOTX64.CSV


def test_a_list_names_files_and_labels() -> None:
    assert list(read_listing(listing("shimx64.efi", "mm.efi"))) == [
        ("shimx64.efi", "debian"),
        ("mm.efi", "debian"),
    ]
    both = "\ufeffa.efi,A,,x\r\n\r\nb.efi,B\r\n".encode("utf-16-le")
    assert list(read_listing(both)) == [("a.efi", "A"), ("b.efi", "B")]


@pytest.mark.parametrize("line", ["a.efi", "../a.efi,x", "a/b.efi,x", "\\a.efi,x", ",x", "a b,x"])
def test_a_line_that_names_no_file_beside_it_is_passed_over(line: str) -> None:
    assert list(read_listing(line.encode("utf-16"))) == []


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-16")))
def test_any_list_names_files_without_a_way_out(content: bytes) -> None:
    for name, _ in read_listing(content):
        assert "/" not in name and "\\" not in name
