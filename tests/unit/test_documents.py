"""Documents name only files, headings, functions and make targets that exist."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.documents import ROOT, blocks, find_faults, headings, pages

DOCS = ROOT / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
PARTS = ("Context", "Decision", "Why", "Rejected", "Consequence")
# They name what GRUB, live-boot, other systems and the bench's tables call things.
OF_OTHERS = (
    *(DOCS / "compatibility.md", DOCS / "performance.md"),
    *ROOT.glob("*/README.md"),
)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_all_that_a_page_names_exists(page: Path) -> None:
    faults = find_faults(page, page.read_text(), names=page not in OF_OTHERS)
    assert faults == [], "correct the page: something was moved or renamed"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("see `payload/finish/nowhere.py`", "there is no file payload/finish/nowhere.py"),
        ("see `finish/nowhere.py`", "there is no file finish/nowhere.py"),
        ("see `nowhere.py`", "there is no file nowhere.py"),
        ("see `tests/nowhere/`", "there is no file tests/nowhere/"),
        (
            "- `formats/network/ifcfg.py`: `plan_copy`",
            "payload/formats/network/ifcfg.py defines no plan_copy",
        ),
        ("| `wire/frames.py` | `decode()` |", "payload/wire/frames.py defines no decode"),
        ("`replicate/receiver.py`: `Receiver.fly`", "payload/replicate/receiver.py defines no fly"),
        ("neither `plan_copy` nor `plan_nothing`", "no module defines plan_nothing"),
        ("`system.host.Guest`", "payload/system/host.py defines no Guest"),
        ("[here](nowhere.md)", "there is no nowhere.md"),
        ("[here](docs/safety.md#nowhere)", "there is no heading for docs/safety.md#nowhere"),
        ("[here](#nowhere)", "there is no heading for #nowhere"),
        ("`make nothing CASE=n`", "the Makefile has no target for make nothing CASE=n"),
    ],
)
def test_what_does_not_exist_is_found(text: str, fault: str) -> None:
    assert fault in find_faults(ROOT / "PAGE.md", f"# Page\n\n{text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "`payload/formats/network/ifcfg.py`: `rewrite_ifcfg`",
        "`replicate/receiver.py`: `Receiver.verify`",
        "`model.event.Progress`, `system/`, `tests/unit/test_*.py`, `CHUNK_SIZE` and `states.py`",
        "[here](docs/safety.md#the-rule), [there](#page), [elsewhere](https://example.org/x)",
        "`make check`, `partclone`, `failover.role=source`, `/etc/fstab`, `HWADDR`, `eth0`",
        "- `formats/network/ifcfg.py` ends with its item\n- and `plan_copy` is another's",
        "```\n[here](nowhere.md) `nowhere.py`\n```",
    ],
)
def test_what_exists_is_no_fault(text: str) -> None:
    assert find_faults(ROOT / "PAGE.md", f"# Page\n\n{text}\n") == []


def test_a_block_is_a_paragraph_an_item_or_a_row() -> None:
    text = "one\ntwo\n\n- three\n  four\n- five\n| six |\n```\nseven\n```\n# eight\nnine\n"
    assert list(blocks(text)) == [
        "one\ntwo",
        "- three\n  four",
        "- five",
        "| six |",
        "# eight\nnine",
    ]


def test_headings_are_named_as_github_does() -> None:
    assert headings('# What "verified" means\n## A `x` (y)\n') == {"what-verified-means", "a-x-y"}


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_five_parts_on_one_page(page: Path) -> None:
    text = page.read_text()
    assert f"(decisions/{page.name})" in (DOCS / "architecture.md").read_text(), "not listed"
    if page.name != "dependencies.md":  # which is a table
        assert re.findall(r"^\*\*(\w+)\.\*\* ", text, re.MULTILINE) == list(PARTS)
        assert 10 <= len(text.splitlines()) <= 25


def test_the_readme_lists_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in readme]
    assert missing == []
    assert "(CONTRIBUTING.md)" in readme


def test_a_commit_is_judged_by_make_check() -> None:
    document = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (hook,) = [hook for repository in document["repos"] for hook in repository["hooks"]]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == (
        "make check",
        "system",
        False,
    )
    assert hook["always_run"], "documents are judged too"
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert find_faults(ROOT / "CONTRIBUTING.md", f"`{hook['entry']}`") == []
    assert "pre-commit install" in contributing
