"""The matrix's bookkeeping: what counts, what is run again, and that the cases are whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.vm import matrix
from tests.vm.case import Case, common_networks, plug_in
from tests.vm.hardware import Card
from tests.vm.matrix import (
    CASES,
    CHEAPEST,
    Outcome,
    choose,
    read_outcomes,
    result_of,
    write_outcomes,
)
from tests.vm.verdict import Facts, judge

PASSED = Outcome(2, "passed", "It boots.", key="k2")


def test_the_document_is_a_list_of_cases_in_their_order(tmp_path: Path) -> None:
    document = tmp_path / "build/matrix.json"
    assert read_outcomes(document) == {}
    write_outcomes(document, [Outcome(9, "refused", "No driver."), PASSED])
    assert list(read_outcomes(document)) == [2, 9]
    assert read_outcomes(document)[2] == PASSED


def test_only_what_passed_unchanged_is_not_run_again() -> None:
    keys = {case.number: f"k{case.number}" for case in CASES}
    everything = [case.number for case in CASES]

    def chosen(wanted: list[int], *known: Outcome) -> list[int]:
        found = choose(CASES, wanted, {one.case: one for one in known}, keys)
        return [case.number for case in found]

    assert chosen([]) == everything
    assert chosen([], PASSED) == [number for number in everything if number != 2]
    assert chosen([], replace(PASSED, key="of another ISO")) == everything
    assert chosen([], replace(PASSED, result="failed")) == everything
    assert chosen([2], PASSED) == [2]


@pytest.mark.parametrize(("result", "code"), [("passed", 0), ("failed", 1), ("refused", 1)])
def test_a_wanted_case_alone_decides_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str, code: int
) -> None:
    def run(case: Case, *_: object) -> Outcome:
        return Outcome(case.number, result, "It was run.")

    monkeypatch.setattr(matrix, "run_case", run)
    monkeypatch.setenv("ACCEL", "tcg")
    (tmp_path / "iso").touch()
    words = ["--iso", str(tmp_path / "iso"), "--output", str(tmp_path / "matrix")]
    assert matrix.main([*words, "--case", "2"]) == code
    assert matrix.main(words) == code, "all of them"
    assert len(read_outcomes(tmp_path / "matrix.json")) == len(CASES)


def test_a_refusal_is_one_only_with_the_source_as_it_was() -> None:
    facts = Facts(failure="No.", digests_before=("a",), digests_after=("a",), written_to_source=0)
    assert result_of(judge(facts)) == "failed"
    facts.refused = True
    assert result_of(judge(facts)) == "refused"
    facts.written_to_source = 512
    assert result_of(judge(facts)) == "failed"


def test_numbers_name_cases_and_addresses_name_cards() -> None:
    numbers = [case.number for case in CASES]
    assert len(set(numbers)) == len(numbers)
    assert set(CHEAPEST) <= set(numbers)
    first = [case for case in CASES if not case.after]
    macs = [card.mac for case in first for card in (*case.source.cards, *case.target.cards)]
    assert len(set(macs)) == len(macs)
    names = [case.host_name for case in first]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.number))
def test_a_case_can_be_run(case: object) -> None:
    found = next(one for one in CASES if one is case)
    assert common_networks(found.source, found.target), "the two machines share no network"
    assert found.source.firmware is found.target.firmware
    targets = {card.mac for card in found.target.cards}
    wanted = {card.mac for card in found.expected.cards if card.mac}
    assert wanted and wanted <= targets
    order = found.order or tuple(range(len(found.target_sizes)))
    assert sorted(order) == list(range(len(found.target_sizes)))


def test_only_cards_in_a_common_network_get_a_wire() -> None:
    cards = (Card("52:54:00:00:00:01", network="a"), Card("52:54:00:00:00:02", network="b"))
    plugged = plug_in(cards, {"a": Path("/w")}, listens=True)
    assert plugged[0].wire is not None and plugged[0].wire.listens
    assert plugged[1].wire is None
