"""The two cheapest cases of the boot matrix; `make test-boot` runs all of them."""

from pathlib import Path

import pytest

from tests.vm.accelerator import Accelerator
from tests.vm.case import Case
from tests.vm.conftest import PROJECT
from tests.vm.matrix import CASES, CHEAPEST, run_case

pytestmark = [pytest.mark.vm, pytest.mark.pair, pytest.mark.root]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.number in CHEAPEST], ids=lambda case: str(case.number)
)
def test_the_copy_boots_and_is_the_server(case: Case, iso: Path, accelerator: Accelerator) -> None:
    outcome = run_case(case, iso, PROJECT / "build/boot-matrix", accelerator)
    assert (outcome.result, outcome.why) == ("passed", outcome.why)
