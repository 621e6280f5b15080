"""The reference pages in docs/ are what the code prints."""

import re
from pathlib import Path

import pytest

from payload.cli.main import main
from payload.cli.reference import FILLED, NOTICE_END, PAGES, fill, roles
from payload.model.errors import FailoverError, HoleError, SettingsError
from payload.model.settings import KEYS

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"


def test_the_tables_among_other_text_are_up_to_date() -> None:
    page = (DOCS / FILLED).read_text()
    assert fill(page) == page, "run `make docs`"
    assert roles() in page


def test_only_what_lies_between_the_notices_is_printed_anew() -> None:
    page = (DOCS / FILLED).read_text()
    assert fill(page.replace("| row |", "| old |")) == page
    with pytest.raises(ValueError, match="it lacks"):
        fill(page.replace(NOTICE_END, ""))


def test_a_directory_without_that_page_gets_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs", str(tmp_path)]) == SettingsError.exit_code
    assert "safety.md cannot be read: No such file" in capsys.readouterr().err
    (tmp_path / FILLED).write_text("# Safety\n")
    assert main(["docs", str(tmp_path)]) == SettingsError.exit_code
    assert "safety.md cannot be filled: it lacks" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [FILLED]


def test_every_code_has_one_meaning() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGES["exit-codes.md"](), re.MULTILINE)
    assert len(codes) == len(set(codes))
    kinds: list[type[FailoverError]] = [FailoverError, *FailoverError.__subclasses__()]
    assert {str(kind.exit_code) for kind in kinds} <= set(codes)
    assert str(HoleError.exit_code) in codes


def test_every_setting_is_listed() -> None:
    page = PAGES["settings.md"]()
    assert all(f"| `{key}` |" in page for key in KEYS)


def test_tables_are_whole() -> None:
    for page in (*PAGES.values(), roles):
        for block in re.findall(r"(?:^\|.*\|\n)+", page(), re.MULTILINE):
            assert len({line.count(" | ") for line in block.splitlines()}) == 1
