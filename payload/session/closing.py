"""The end of a run that failed, for people: what is on the disks, and what to do next.

What is on the disks after a failure is said here and nowhere else. It follows from what the run
wrote, never from the words of the error that ended it.
"""

from collections.abc import Mapping

from payload.model.errors import DiskState, FailoverError, StoppedError
from payload.model.report import Report, Result
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
