"""What the tests import of each other: support code, and never another test. And where the program
imports late: the fewer places, the more certain is what is loaded when a disk is written to."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import payload

TESTS = Path(__file__).resolve().parents[1]
# Unit tests judge these too: what is tested of them needs neither root nor a machine.
BELOW_UNIT = ("tests.support", "tests.vm", "tests.bench", "tests.mutate", "tests.release")


@cache
def imported(path: Path) -> frozenset[str]:
    """Every `tests.…` that a module imports, anywhere in it; members of a package included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] == "tests")


def test_no_test_is_imported() -> None:
    tests = {
        str(path.relative_to(TESTS)): names
        for path in TESTS.rglob("*.py")
        if (names := {name for name in imported(path) if ".test_" in name})
    }
    assert tests == {}, "what two tests need belongs to tests/support"


def test_support_stands_on_nothing_but_itself() -> None:
    for path in (TESTS / "support").rglob("*.py"):
        others = {name for name in imported(path) if not name.startswith("tests.support")}
        assert not others - {"tests"}, path


def test_unit_tests_import_no_integration_test() -> None:
    for path in (TESTS / "unit").rglob("*.py"):
        others = {name for name in imported(path) if not name.startswith(BELOW_UNIT)}
        assert not others - {"tests"}, path


def late_imports(path: Path) -> Iterator[str]:
    """The functions of a module that import something, by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node)
        ):
            yield node.name


def test_a_run_imports_late_in_three_places_only() -> None:
    root = Path(payload.__file__).parent
    late = {
        (path.relative_to(root).as_posix(), name)
        for path in root.rglob("*.py")
        for name in late_imports(path)
        if path.parent.name != "cli"  # each command imports what it needs
    }
    assert late == {
        ("live.py", "load_run"),
        ("console/console.py", "_paint"),
        ("session/engine.py", "load_roles"),
    }
