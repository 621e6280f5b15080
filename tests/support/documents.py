"""Files, functions, headings and make targets that documents name, held against the checkout.

A file is named by its path from the root, from `payload/`, or from the page's own directory. A word
with a capital letter, an underscore or `()` at its end is a name of our code. In one paragraph,
item or row of a table it has to be defined in the Python file named last before it, if any is.
Other words in code type are not looked at: settings, tools, words of a report.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OURS = ("payload", "tests", "docs", "live-build", "autorun", "iso-config", ".ci")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_BLOCK_BEGIN = re.compile(r" *(?:[-*] |\d+\. |\||#)")
_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_CONSTANT = re.compile(r"[A-Z0-9_]+")  # also what kernels, tools and configurations call things
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def pages() -> list[Path]:
    """Every document that speaks of the present; the changelog tells what was."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted({page for page in found if page.name != "CHANGELOG.md"})


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, list items, rows of tables and headings; fenced code is none of them."""
    lines: list[str] = []
    for line in [*_FENCE.sub("", text).splitlines(), ""]:
        if lines and (not line.strip() or _BLOCK_BEGIN.match(line)):
            yield "\n".join(lines)
            lines = []
        if line.strip():
            lines.append(line)


def find_faults(page: Path, text: str, *, names: bool = True) -> list[str]:
    """Sentences about what `text`, lying at `page`, names and does not exist. Without `names` only
    links, files and targets of make are looked at."""
    faults = list(_link_faults(page, text))
    for block in blocks(text):
        faults += _block_faults(page, block, names=names)
    return faults


def _link_faults(page: Path, text: str) -> Iterator[str]:
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"\w+:", link):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if path and not target.exists():
            yield f"there is no {link}"
        elif heading and heading not in headings(text if target == page else target.read_text()):
            yield f"there is no heading for {link}"


def headings(text: str) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    lines = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def _block_faults(page: Path, block: str, *, names: bool) -> Iterator[str]:
    file: Path | None = None
    for span in _SPAN.findall(block):
        if span.startswith("make "):
            yield from _target_faults(span)
        elif is_path(span):
            found = resolve(page, span)
            if not found:
                yield f"there is no file {span}"
            file = found[0] if len(found) == 1 and span.endswith(".py") else None
        elif names and is_name(span):
            yield from _name_faults(span.removesuffix("()"), file)


def _target_faults(span: str) -> Iterator[str]:
    target = span.split()[1]
    if target not in _TARGET.findall((ROOT / "Makefile").read_text()):
        yield f"the Makefile has no target for {span}"


def is_path(span: str) -> bool:
    """Whether a piece of code in a sentence names a file or directory of the checkout."""
    if not _PATH.fullmatch(span):
        return False
    first, slash, _ = span.partition("/")
    if span.endswith(".py") or (ROOT / span).exists():
        return True
    return bool(slash) and (first in _OURS or (ROOT / "payload" / first).is_dir())


def is_name(span: str) -> bool:
    """Whether a piece of code in a sentence is a name of our code."""
    word = span.removesuffix("()")
    return bool(_NAME.fullmatch(word)) and (word != span or bool(re.search("[A-Z_]", word)))


def resolve(page: Path, span: str) -> list[Path]:
    """The files that a path means; a bare name of a Python file may lie anywhere in our code."""
    for directory in (ROOT, ROOT / "payload", page.parent):
        if found := sorted(directory.glob(span.rstrip("/"))):
            return found
    if "/" not in span:
        return [*(ROOT / "payload").rglob(span), *(ROOT / "tests").rglob(span)]
    return []


def _name_faults(name: str, file: Path | None) -> Iterator[str]:
    *modules, word = name.split(".")
    if modules and (own := ROOT.joinpath("payload", *modules).with_suffix(".py")).exists():
        file, parts = own, [word]  # `model.event.Progress`
    else:
        parts = [*modules, word]  # `Receiver.verify`
    if file is not None:
        missing = [part for part in parts if part not in defined_in(file)]
        if missing:
            yield f"{file.relative_to(ROOT)} defines no {' and no '.join(missing)}"
    elif not _CONSTANT.fullmatch(name):
        yield from (f"no module defines {p}" for p in parts if not is_defined(p))


@cache
def defined_in(file: Path) -> frozenset[str]:
    """Functions, classes, methods, fields, constants and arguments of a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return frozenset(names)


def is_defined(name: str) -> bool:
    """Whether any module of ours defines the name; only those that contain the word are parsed."""
    return any(name in text and name in defined_in(file) for file, text in sources().items())


@cache
def sources() -> dict[Path, str]:
    files = (file for top in ("payload", "tests") for file in (ROOT / top).rglob("*.py"))
    return {file: file.read_text() for file in files}
