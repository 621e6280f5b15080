"""What a rehearsal found, and whether that is right: pure, so that it can be tested by itself."""

from dataclasses import dataclass, field

from payload.model.report import Report
from tests.vm.case import Expected
from tests.vm.compare import Comparison, is_listed
from tests.vm.evidence import Evidence, Mount, SeenCard


@dataclass
class Facts:
    """Everything measured, filled in as the rehearsal goes. `failure` is what ended it early.

    `expected` is what the copy must say of itself; None when nobody can know that.
    """

    expected: Expected | None = None
    host_name: str = ""
    source_macs: tuple[str, ...] = ()
    failure: str = ""
    refused: bool = False  # the payload ended it before the first write, for a reason it told
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
    refused: bool = False  # the payload said no before the first write


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
        eth0_mac_is_target=_eth0_is_target(facts),
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
        refused=facts.refused,
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
    if facts.expected is not None:
        problems += _evidence_problems(facts, facts.expected)
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


def _evidence_problems(facts: Facts, expected: Expected) -> list[str]:
    evidence = facts.evidence
    if evidence is None:
        return ["The copy did not prove itself."]
    problems = []
    if evidence.host_name != facts.host_name:
        problems.append(f"The copy's host name is {evidence.host_name}.")
    if evidence.system != expected.system:
        units = ", ".join(evidence.failed_units)
        problems.append(f"The copy's system is {evidence.system}; failed units: {units or 'none'}.")
    if evidence.firmware != expected.firmware:
        problems.append(f"The copy was started by {evidence.firmware} firmware.")
    problems += _card_problems(facts, evidence, expected)
    problems += _mount_problems(evidence, expected)
    problems += _file_problems(facts, evidence, expected)
    return problems


def _card_problems(facts: Facts, evidence: Evidence, expected: Expected) -> list[str]:
    problems = [
        f"{card.name} of the copy is not {_described(card)}."
        for card in expected.cards
        if not _is_there(card, evidence)
    ]
    problems += [f"The copy has a card {name}." for name in expected.absent if evidence.card(name)]
    if expected.by_rules:
        new = {card.mac: (card.name,) for card in expected.cards}
        old = dict.fromkeys(facts.source_macs, ())
        problems += [
            f"The copy's persistent net rules call {mac} {evidence.names(mac)}, not {names}."
            for mac, names in {**old, **new}.items()
            if evidence.names(mac) != names
        ]
    return problems


def _is_there(wanted: SeenCard, evidence: Evidence) -> bool:
    card = evidence.card(wanted.name)
    return (
        card is not None
        and wanted.mac in ("", card.mac)
        and set(wanted.addresses) <= set(card.addresses)
    )


def _described(card: SeenCard) -> str:
    words = [f"the card {card.mac}"] if card.mac else ["there"]
    return " with ".join([*words, *card.addresses])


def _mount_problems(evidence: Evidence, expected: Expected) -> list[str]:
    def fits(wanted: Mount, mount: Mount) -> bool:
        same = (wanted.place, wanted.kind) == (mount.place, mount.kind)
        return same and wanted.device in ("", mount.device)

    problems = [
        f"The copy has not mounted {wanted.device or 'its file system'} as {wanted.place}."
        for wanted in expected.mounts
        if not any(fits(wanted, mount) for mount in evidence.mounts)
    ]
    if expected.swap and not evidence.swaps:
        problems.append("The copy has no swap.")
    return problems


def _file_problems(facts: Facts, evidence: Evidence, expected: Expected) -> list[str]:
    problems = []
    if failed := _failed_files(facts):
        problems.append(f"Files of the copy are not what they were: {', '.join(failed[:10])}.")
    if evidence.files_ok + len(evidence.failed_files) < evidence.files_listed:
        problems.append("The copy did not check every file of its list.")
    if evidence.files_listed < expected.least_files:
        problems.append(f"The copy lists only {evidence.files_listed} files.")
    return problems


def _eth0_is_target(facts: Facts) -> bool | str:
    """Whether eth0 is as expected; "unknown" where nobody expects an eth0."""
    wanted = facts.expected.cards if facts.expected else ()
    eth0 = next((card for card in wanted if card.name == "eth0"), None)
    if eth0 is None:
        return "unknown"
    return facts.evidence is not None and _is_there(eth0, facts.evidence)


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


def _proof(report: Report | None) -> str:
    """How far the copy came inside the target."""
    proof = report.boot_proof if report else None
    if proof is None:
        return "-"
    after = f" after {proof.seconds:.0f} s" if proof.seconds else ""
    return f"{proof.verdict.value}{after}"


def render_text(verdict: Verdict) -> str:
    """For people."""
    lines = [
        f"Rehearsal: {verdict.result}",
        verdict.sentence,
        "",
        f"source unchanged      {_word(verdict.source_unchanged)}",
        f"verified              {_word(verdict.verified)}",
        f"boot proof            {_proof(verdict.payload)}",
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
