"""What a rehearsal found, and whether that is right: pure, so that it can be tested by itself."""

from dataclasses import dataclass, field

from payload.model.report import Report
from tests.vm import sample_server
from tests.vm.compare import Comparison, is_listed
from tests.vm.evidence import Evidence


@dataclass
class Facts:
    """Everything measured, filled in as the rehearsal goes. `failure` is what ended it early."""

    is_sample: bool = True
    source_mac: str = ""
    target_mac: str = ""
    failure: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    digests_before: tuple[str, ...] = ()
    digests_after: tuple[str, ...] = ()
    written_to_source: int | None = None  # bytes in the overlays
    source_report: Report | None = None
    report: Report | None = None  # the target's
    comparisons: tuple[Comparison, ...] = ()
    copy_booted: bool | None = False  # None: nobody could tell
    evidence: Evidence | None = None


@dataclass(frozen=True)
class PartitionFigures:
    """One region: the payload's own figures. Bytes and seconds."""

    name: str
    file_system: str
    total: int
    used: int
    sent: int
    held: int
    seconds: float
    digest: str
    verified: bool


@dataclass(frozen=True)
class Verdict:
    """`report.json` of a rehearsal."""

    result: str  # "ok", "unknown" or "failed"
    sentence: str
    source_unchanged: bool
    verified: bool
    copy_booted: bool | str
    eth0_mac_is_target: bool | str
    host_name: str
    files_ok: int
    files_failed: int
    problems: tuple[str, ...]
    partitions: tuple[PartitionFigures, ...]
    seconds: dict[str, float]
    comparisons: tuple[Comparison, ...]
    evidence: Evidence | None
    source_digests: tuple[str, ...]
    payload: Report | None


def judge(facts: Facts) -> Verdict:
    """Weigh all facts. What was not measured counts as wrong, unless nobody could measure it."""
    problems = tuple(_problems(facts))
    unclear = not problems and facts.copy_booted is None
    evidence, report = facts.evidence, facts.report
    failed = _failed_files(facts)
    return Verdict(
        result="failed" if problems else "unknown" if unclear else "ok",
        sentence=_sentence(facts, problems, unclear),
        source_unchanged=_source_unchanged(facts),
        verified=_verified(facts),
        copy_booted="unknown" if facts.copy_booted is None else facts.copy_booted,
        eth0_mac_is_target=_eth0_is_target(facts) if facts.is_sample else "unknown",
        host_name=evidence.host_name if evidence else _reported_host(report),
        files_ok=evidence.files_ok if evidence else 0,
        files_failed=len(failed),
        problems=problems,
        partitions=_figures(report),
        seconds=dict(facts.seconds),
        comparisons=facts.comparisons,
        evidence=evidence,
        source_digests=facts.digests_after,
        payload=report,
    )


def _sentence(facts: Facts, problems: tuple[str, ...], unclear: bool) -> str:
    if problems:
        return problems[0]
    if unclear:
        return (
            "Everything was copied and verified, but the copy said nothing on its serial line: "
            "whether it boots has to be seen on the picture copy-1-unclear.png."
        )
    files = f", {facts.evidence.files_ok} files proven from inside" if facts.evidence else ""
    return f"The copy is verified and boots by itself{files}; the source is unchanged."


def _problems(facts: Facts) -> list[str]:
    """Everything that is wrong, the cause before its consequences."""
    if facts.failure:
        return [facts.failure, *_source_problems(facts)]
    problems = _source_problems(facts)
    if not _verified(facts):
        problems.append("The payload did not verify every region of the copy.")
    if not facts.comparisons:
        problems.append("Source and copy were not compared.")
    problems += [
        f"Source and copy differ: {one.name}: {problem}."
        for one in facts.comparisons
        for problem in one.problems
    ]
    if facts.is_sample:
        problems += _evidence_problems(facts)
    return problems


def _source_problems(facts: Facts) -> list[str]:
    problems = []
    if facts.digests_after and facts.digests_after != facts.digests_before:
        problems.append("A source image's SHA-256 has changed.")
    if facts.written_to_source:
        problems.append(f"{facts.written_to_source} bytes were written to the source's disks.")
    return problems


def _source_unchanged(facts: Facts) -> bool:
    measured = bool(facts.digests_after) and facts.written_to_source is not None
    return measured and not _source_problems(facts)


def _verified(facts: Facts) -> bool:
    """Both reports are one document, and it says that every region was read back and equal."""
    report = facts.report
    return (
        report is not None
        and report == facts.source_report
        and report.verified
        and bool(report.regions)
        and all(
            region.verified and region.source_digest == region.target_digest
            for region in report.regions
        )
    )


def _evidence_problems(facts: Facts) -> list[str]:
    evidence = facts.evidence
    if evidence is None:
        return ["The copy did not prove itself."]
    problems = []
    if evidence.host_name != sample_server.HOST_NAME:
        problems.append(f"The copy's host name is {evidence.host_name}.")
    if evidence.system != "running":
        units = ", ".join(evidence.failed_units)
        problems.append(f"The copy's system is {evidence.system}; failed units: {units or 'none'}.")
    if not _eth0_is_target(facts):
        problems.append("eth0 of the copy is not the target's card with the server's address.")
    if evidence.names(facts.target_mac) != ("eth0",) or evidence.names(facts.source_mac):
        problems.append("The copy's persistent net rules do not name the target's card eth0.")
    places = {mount.place: mount.device for mount in evidence.mounts}
    if places.get("/boot") != "/dev/sda1" or places.get("/srv/groupware") != "/dev/sdb1":
        problems.append(f"The copy has not mounted both disks: {places}.")
    if not evidence.swaps:
        problems.append("The copy has no swap.")
    if failed := _failed_files(facts):
        problems.append(f"Files of the copy are not what they were: {', '.join(failed[:10])}.")
    if evidence.files_ok + len(evidence.failed_files) < evidence.files_listed:
        problems.append("The copy did not check every file of its list.")
    if evidence.files_listed < 10000:
        problems.append(f"The copy lists only {evidence.files_listed} files.")
    return problems


def _eth0_is_target(facts: Facts) -> bool:
    card = facts.evidence.card("eth0") if facts.evidence else None
    return (
        card is not None
        and card.mac == facts.target_mac
        and sample_server.ADDRESS in card.addresses
    )


def _failed_files(facts: Facts) -> tuple[str, ...]:
    """Files with another digest that the payload did not list as changed."""
    if facts.evidence is None:
        return ()
    changes = [change.where for change in facts.report.changes] if facts.report else []
    return tuple(
        file for file in facts.evidence.failed_files if not is_listed(file.lstrip("/"), changes)
    )


def _reported_host(report: Report | None) -> str:
    return report.source.host_name if report and report.source else ""


def _figures(report: Report | None) -> tuple[PartitionFigures, ...]:
    return tuple(
        PartitionFigures(
            region.name, region.file_system, region.total, region.used, region.sent,
            region.held, region.seconds, region.target_digest, region.verified,
        )
        for region in (report.regions if report else ())
    )  # fmt: skip


def render_text(verdict: Verdict) -> str:
    """For people."""
    lines = [
        f"Rehearsal: {verdict.result}",
        verdict.sentence,
        "",
        f"source unchanged      {_word(verdict.source_unchanged)}",
        f"verified              {_word(verdict.verified)}",
        f"copy booted           {_word(verdict.copy_booted)}",
        f"eth0 is target's card {_word(verdict.eth0_mac_is_target)}",
        f"host name             {verdict.host_name or '-'}",
        f"files from inside     {_files(verdict)}",
        "",
    ]
    for one in verdict.partitions:
        lines.append(
            f"{one.name:24} {one.file_system or '-':6} {one.used / 1e6:9.1f} MB used, "
            f"{one.sent / 1e6:8.1f} MB sent, {one.seconds:6.1f} s"
        )
    lines += ["", *(f"{taken:8.1f} s  {name}" for name, taken in verdict.seconds.items())]
    if len(verdict.problems) > 1:
        lines += ["", "All that is wrong:", *(f"- {problem}" for problem in verdict.problems)]
    return "\n".join(lines) + "\n"


def _files(verdict: Verdict) -> str:
    if verdict.evidence is None:
        return "not checked"
    return f"{verdict.files_ok} right, {verdict.files_failed} wrong"


def _word(value: bool | str) -> str:
    return value if isinstance(value, str) else "yes" if value else "NO"
