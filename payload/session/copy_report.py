"""The report of a finished copy: what was done to the target, in figures and sentences."""

from collections.abc import Sequence

from payload.decide.account import settle_accounts
from payload.decide.planning import UNPROVEN
from payload.finish.sequence import FinishResult
from payload.model.errors import DiskState, HoleError
from payload.model.report import BootLoaderReport, BootProof, RegionReport, Report, Result
from payload.session.context import Context


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
