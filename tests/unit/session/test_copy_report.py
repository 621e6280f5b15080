"""The report of a finished copy: "verified" and "whole" are said of nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from payload.decide.planning import UNPROVEN
from payload.finish.sequence import FinishResult
from payload.model.errors import DiskState, HoleError
from payload.model.marker import Change
from payload.model.report import (
    BootLoaderReport,
    BootProof,
    BootVerdict,
    CardName,
    Hole,
    RegionReport,
    Report,
    Result,
)
from payload.model.role import Role
from payload.session.agreement import compute_plan
from payload.session.context import Context
from payload.session.copy_report import make_report
from tests.support.meetings import TARGET, meeting

CARD = CardName("eth0", "00:16:3e:00:00:02", "the copy came over it")
CHANGE = Change("/etc/fstab", "names of disks")
FINISH = FinishResult((CARD,), (CHANGE,), ("Of the finish.",), cast(Any, None))
LOADER = BootLoaderReport("carried over", "GRUB 2", ("sector 1",), ("Of the loader.",))
PROOF = BootProof(BootVerdict.LOGIN, "It showed a login prompt.")


@contextmanager
def finished() -> Iterator[Context]:
    with meeting(Role.TARGET, ()) as context:
        context.plan = compute_plan(context)
        yield context


def reports_of(context: Context, **changes: Any) -> tuple[RegionReport, ...]:
    """Of each region, as if all of it was copied and proven."""
    return tuple(
        replace(
            RegionReport(
                region.name, "T", region.file_system, region.size, region.size, 0, 0, 1.0,
                "d" * 64, "d" * 64, True,
            ),
            **changes,
        )
        for region in context.agreed.regions
    )  # fmt: skip


def report_of(context: Context, regions: Sequence[RegionReport]) -> Report:
    return make_report(context, tuple(regions), FINISH, LOADER, PROOF)


def test_a_copy_of_which_all_was_proven_is_called_verified() -> None:
    with finished() as context:
        report = report_of(context, reports_of(context))
        label = context.agreed.target.label
    assert report.verified and (report.result, report.exit_code) == (Result.OK, 0)
    assert report.sentence == (
        f"The target ({label}) is now a verified copy of groupware, ready to start."
    )
    assert report.disks is DiskState.FINISHED


@pytest.mark.parametrize("index", [0, 1])
def test_one_region_without_proof_makes_no_verified_copy(index: int) -> None:
    with finished() as context:
        regions = list(reports_of(context))
        regions[index] = replace(regions[index], verified=False, target_digest="")
        report = report_of(context, regions)
    assert not report.verified and report.result is Result.OK
    assert "verified copy" not in report.sentence and report.sentence.endswith(UNPROVEN)


def test_bytes_that_were_promised_and_are_missing_make_no_verified_copy() -> None:
    """Of all but what a file system calls free, less was copied than the plan says."""
    with finished() as context:
        boot, *rest = reports_of(context)
        report = report_of(context, [replace(boot, used=boot.used - 512), *rest])
    assert report.accounts[0].missing == 512 and not report.verified


def test_a_plan_without_accounts_proves_nothing() -> None:
    with finished() as context:
        context.plan = replace(context.agreed, accounts=())
        report = report_of(context, reports_of(context))
    assert not report.verified and "verified copy" not in report.sentence


def test_sectors_that_could_not_be_read_are_no_success() -> None:
    with finished() as context:
        boot, *rest = reports_of(context)
        holed = replace(boot, holes=(Hole(0, 512), Hole(1024, 512)))
        report = report_of(context, [holed, *rest])
    assert (report.result, report.exit_code) == (Result.HOLES, HoleError.exit_code)
    assert "2 ranges of the source's disks could not be read" in report.sentence
    assert "ready to start" not in report.sentence and "replace the" in report.sentence
    assert report.accounts[0].unreadable == 1024


def test_holes_and_no_proof_are_both_told() -> None:
    with finished() as context:
        boot, *rest = reports_of(context, verified=False)
        report = report_of(context, [replace(boot, holes=(Hole(0, 512),)), *rest])
    assert "1 ranges" in report.sentence and report.sentence.endswith(UNPROVEN)
    assert report.result is Result.HOLES and not report.verified


def test_each_warning_stands_once_in_the_order_in_which_it_came_up() -> None:
    with finished() as context:
        context.warn("Of the run.")
        context.warn("Of the loader.")
        report = report_of(context, reports_of(context))
    assert report.warnings == ("Of the run.", "Of the loader.", "Of the finish.")


def test_what_was_done_is_in_the_report() -> None:
    with finished() as context:
        context.started_at = 1_794_000_000
        context.seconds["copy"] = 12.5
        regions = reports_of(context)
        report = report_of(context, regions)
        context.seconds["copy"] = 99.0
        plan = context.agreed
    assert (report.plan_digest, report.source, report.target) == (
        plan.digest,
        plan.source,
        plan.target,
    )
    assert (report.regions, report.cards, report.changes) == (regions, (CARD,), (CHANGE,))
    assert (report.boot_loader, report.boot_proof) == (LOADER, PROOF)
    assert (report.started_at, report.seconds) == (1_794_000_000, {"copy": 12.5})
    assert report.target is not None and report.target.id == TARGET.machine.id


def test_a_server_without_a_name_is_the_server() -> None:
    with finished() as context:
        nameless = replace(context.agreed.source, host_name="")
        context.plan = replace(context.agreed, source=nameless)
        report = report_of(context, reports_of(context))
    assert "copy of the server, ready" in report.sentence
