"""Which changes are made to code, that each is one change, and what is said of those unnoticed."""

import ast

import pytest

from tests.mutate.__main__ import find_mutants
from tests.mutate.mutants import Mutant, Target, TargetError, mutants_of, mutate
from tests.mutate.processes import Result, Verdict
from tests.mutate.report import failures, summary
from tests.mutate.rule import EQUIVALENT, TARGETS

MODULE = "payload.decide.role"


def made(source: str, **target: tuple[str, ...]) -> list[Mutant]:
    return mutants_of(Target(MODULE, ("test_role",), **target), source)  # type: ignore[arg-type]


def changes(source: str) -> dict[str, str]:
    """What is changed in the function `f` of this text -> the function then."""
    return {one.change: function(mutate(source, one)) for one in made(source, only=("f",))}


def function(tree: ast.Module) -> str:
    (found,) = (one for one in tree.body if getattr(one, "name", "") == "f")
    compile(tree, "changed", "exec")
    return "; ".join(ast.unparse(found).replace("\n    ", " ").split("\n"))


def body(source: str) -> dict[str, str]:
    return {
        change: text.removeprefix("def f(): ")
        for change, text in changes(f"def f():\n    {source}").items()
    }


def test_each_operand_is_left_out() -> None:
    assert body("return a and b or c") == {
        "without `or a and b`": "return c or c",
        "without `or c`": "return a and b or (a and b)",
        "without `and a`": "return b and b or c",
        "without `and b`": "return a and a or c",
    }


def test_a_refusal_is_taken_away_and_its_opposite_is_not_tried() -> None:
    assert body("if a: raise E") == {"`a` never holds": "if False:     raise E"}


def test_another_condition_holds_always_or_never() -> None:
    assert set(body("if a: return 1")) == {"`a` never holds", "`a` always holds"}
    assert set(body("return 1 if a else 2")) == {"`a` never holds", "`a` always holds"}
    assert body("return [x for x in y if a]") == {
        "`a` never holds": "return [x for x in y if False]",
        "`a` always holds": "return [x for x in y if True]",
    }
    assert set(body("while a: pass")) == {"`a` never holds"}


def test_a_comparison_is_true_or_false() -> None:
    assert body("return g(a == b)") == {
        "`a == b` is always True": "return g(True)",
        "`a == b` is always False": "return g(False)",
    }


def test_an_answer_of_a_predicate_is_true_or_false() -> None:
    assert set(changes("def f() -> bool:\n    return g()")) == {
        "`g()` is always True",
        "`g()` is always False",
    }
    assert set(changes("def f() -> bool:\n    return True")) == {"`True` is always False"}


def test_what_is_done_for_its_effect_is_not_done() -> None:
    assert body("check(a)") == {"`check(a)` is not done": "pass"}
    assert body("context.note(a)") == {}
    assert body("raise E(a or b)") == {"`raise E(a or b)` is not done": "pass"}


def test_an_error_is_passed_over_in_silence() -> None:
    words = body("try: g()\n    except LinkError: return LEFT\n    return AGREED")
    assert words["`except LinkError` passes in silence"].endswith("pass return AGREED")


def test_elements_and_arguments_are_left_out() -> None:
    both = {"without the element `x`", "without the element `y`"}
    assert set(body("found = (x, y)")) == both
    assert set(body("for one in (x, y): pass")) == both
    assert both <= set(body("return a in {x, y}"))
    assert body("return x, y") == body("a, b = x, y") == body("return run([x, y])") == {}
    assert set(body("facts.has(A, *B)")) >= {
        "without the argument `A`",
        "without the argument `*B`",
    }


def test_roles_flags_and_switches_are_others() -> None:
    assert body("return Role.SOURCE")["`Role.TARGET` for `Role.SOURCE`"] == "return Role.TARGET"
    assert set(body("return os.O_RDWR | os.O_EXCL")) == {
        "`os.O_RDWR` for `os.O_RDWR | os.O_EXCL`",
        "`os.O_EXCL` for `os.O_RDWR | os.O_EXCL`",
    }
    assert set(body("return os.O_RDONLY | os.O_CLOEXEC")) == {
        "`os.O_RDONLY` for `os.O_RDONLY | os.O_CLOEXEC`",
        "`os.O_RDWR` for `os.O_RDONLY`",
    }
    assert body("return g(os.O_RDONLY)")["`os.O_RDWR` for `os.O_RDONLY`"] == "return g(os.O_RDWR)"
    assert body("return g(blank=False)") == {"`blank` is True": "return g(blank=True)"}


def test_words_and_assertions_are_left_alone() -> None:
    assert body('return f"{a or b}"') == {}
    assert body("assert a and b") == {}


def test_the_rows_of_a_table_are_tried() -> None:
    source = "ROWS = (Row('a', lambda facts: facts.x), Row('b', lambda facts: facts.y == 1))"
    assert [one.change for one in made(source)] == [
        "without the element `Row('a', lambda facts: facts.x)`",
        "`facts.x` is always True",
        "`facts.x` is always False",
        "without the element `Row('b', lambda facts: facts.y == 1)`",
        "`facts.y == 1` is always True",
        "`facts.y == 1` is always False",
    ]
    (first, *_) = made("GROUNDS = {A: 1, B: 2}")
    assert ast.unparse(mutate("GROUNDS = {A: 1, B: 2}", first)) == "GROUNDS = {B: 2}"


def test_a_function_that_is_new_in_a_module_is_tried() -> None:
    source = "def f():\n    if a: raise E\nclass C:\n    def g(self):\n        if b: raise E"
    assert {one.scope for one in made(source)} == {"f", "C.g"}
    assert {one.scope for one in made(source, but=((("f",), "words"),))} == {"C.g"}  # type: ignore[arg-type]


def test_changes_of_the_same_words_have_names_of_their_own() -> None:
    names = [one.name for one in made("def f():\n    if a: raise E\n    if a: raise E")]
    assert len(set(names)) == len(names) == 2


def test_a_name_that_is_not_in_the_module_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"payload\.decide\.role has no h"):
        made("def f(): pass", only=("h",))


def test_a_survivor_and_a_change_that_is_gone_are_failures() -> None:
    first, second = made("def f():\n    if a: raise E\n    if b: raise E")
    results = [
        Result(first, Verdict.KILLED, 1.0, ""),
        Result(second, Verdict.SURVIVED, 1.0, ""),
    ]
    tests = {first: ("tests/unit/test_a.py",), second: ("tests/unit/test_a.py",)}
    names = {first.name, second.name}
    survived, gone = failures(results, tests, names, {f"{MODULE}.f: `c`": "why"}, {MODULE})
    assert survived == (
        "SURVIVED: payload.decide.role.f, line 3: `b` never holds. No test of test_a.py fails:"
        " write one."
    )
    assert gone.startswith("GONE: payload.decide.role.f: `c` is listed as no difference (why)")
    assert failures(results[:1], tests, names, {first.name: "why"}, {MODULE}) == []
    assert failures([], tests, names, {"payload.other.f: `c`": "why"}, {MODULE}) == []


def test_what_was_tried_and_what_was_not_is_counted() -> None:
    first, second, third = made("def f():\n    if a: raise E\n    if b: raise E\n    g(c)")
    results = [
        Result(first, Verdict.ENDLESS, 60.0, ""),
        Result(second, Verdict.SURVIVED, 1.0, ""),
    ]
    names = {one.name for one in (first, second, third)}
    assert list(summary(results, names, {third.name: "words", "other": "words"})) == [
        "3 changes: 1 noticed, 1 not noticed",
        "61 s of the processor, 30.50 s for each",
        "1 not tried: words",
    ]
    assert next(summary([], set(), {})) == "0 changes: 0 noticed, 0 not noticed"


def test_the_list_of_the_rule_fits_the_code() -> None:
    mutants = find_mutants(TARGETS)
    assert not set(EQUIVALENT) - {one.name for one in mutants}
    assert all(EQUIVALENT.values())


def test_a_lost_connection_that_passes_for_agreement_is_tried() -> None:
    (target,) = (one for one in TARGETS if one.module == "payload.session.agreement")
    names = {f"{one.scope}: {one.change}" for one in find_mutants([target])}
    assert "agree: `except LinkError` passes in silence" in names
    assert "agree: `exchange_go(context)` is not done" in names
    assert (
        "exchange_go: `expect(context, Go, ANSWER + context.other.countdown)` is not done" in names
    )
