"""The report of a run: what was done to the target, in figures and sentences.

What is on the disks after a failure is said here and nowhere else. It follows from what the run
wrote, never from the words of the error that ended it.
"""

from collections.abc import Mapping, Sequence

from payload.finish.sequence import FinishResult
from payload.model.errors import DiskState, FailoverError, HoleError, StoppedError
from payload.model.report import BootLoaderReport, BootProof, RegionReport, Report, Result
from payload.replicate.account import settle_accounts
from payload.replicate.planning import UNPROVEN
from payload.session.context import Context

# Two sentences each: what is on the disks, and what to do next.
AFTERMATH: Mapping[DiskState, str] = {
    DiskState.UNTOUCHED: (
        "Nothing was written. Boot both machines from the medium again to start over."
    ),
    DiskState.UNFINISHED: (
        "The copy on this machine is unfinished and does not boot. Boot both machines from the "
        "medium again to carry on."
    ),
    DiskState.SEALED: (
        "The data of the copy on this machine is complete, but nobody saw that it starts as the "
        "server. Boot both machines from the medium again to complete it: what is there already "
        "is not sent again."
    ),
    DiskState.DOUBTFUL: (
        "The copy on this machine may start, but is not to be relied on. Do not start it: boot "
        "both machines from the medium again to make it anew."
    ),
    DiskState.AT_TARGET: (
        "Nothing was written to this machine, the source. Unless the target's screen says that "
        "the copy is finished, it is not and does not boot: then boot both machines from the "
        "medium again to carry on."
    ),
}


def make_report(
    context: Context,
    regions: tuple[RegionReport, ...],
    finish: FinishResult,
    boot_loader: BootLoaderReport,
    boot_proof: BootProof | None,
) -> Report:
    """Sectors that could not be read are no success: another result, with a code of its own."""
    holes = sum(len(region.holes) for region in regions)
    accounts = settle_accounts(context.agreed, regions)
    verified = bool(accounts) and all(account.proven for account in accounts)
    return Report(
        result=Result.HOLES if holes else Result.OK,
        sentence=_sentence(context, holes, verified=verified),
        exit_code=HoleError.exit_code if holes else 0,
        plan_digest=context.agreed.digest,
        source=context.agreed.source,
        target=context.agreed.target,
        started_at=context.started_at,
        seconds=dict(context.seconds),
        regions=regions,
        accounts=accounts,
        verified=verified,
        boot_loader=boot_loader,
        boot_proof=boot_proof,
        cards=finish.cards,
        changes=finish.changes,
        warnings=_unique((*context.warnings, *finish.warnings, *boot_loader.warnings)),
        version=context.version,
        disks=DiskState.FINISHED,
    )


def failure_report(context: Context, error: FailoverError, left: DiskState) -> Report:
    """The sentence of the error, and what is now on the disks that the run left in that state."""
    disks = error.disks(left)
    return Report(
        result=Result.STOPPED if isinstance(error, StoppedError) else Result.FAILED,
        sentence=f"{error} {AFTERMATH[disks]}",
        exit_code=error.exit_code,
        plan_digest=context.plan.digest if context.plan else "",
        source=context.plan.source if context.plan else None,
        target=context.plan.target if context.plan else None,
        started_at=context.started_at,
        seconds=dict(context.seconds),
        warnings=tuple(context.warnings),
        version=context.version,
        disks=disks,
    )


def _sentence(context: Context, holes: int, *, verified: bool) -> str:
    host_name = context.agreed.source.host_name or "the server"
    label = context.agreed.target.label
    kind = "a verified copy" if verified else "a copy"
    sentence = f"The target ({label}) is now {kind} of {host_name}, ready to start."
    if holes:
        sentence = (
            f"The target ({label}) is now a copy of {host_name}, but {holes} ranges of the "
            "source's disks could not be read and are zeros in the copy: replace the "
            "source's disk, and restore the files in those ranges."
        )
    return sentence if verified else f"{sentence} {UNPROVEN}"


def _unique(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))
