"""The report as text for people: the result first, then the figures."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from payload.console.text import amount, duration, plain, size, wrap
from payload.model.account import SettledAccount
from payload.model.marker import MachineReference
from payload.model.report import RegionReport, Report, Result

WIDTH = 79

NOT_VERIFIED = "DONE, BUT NOT VERIFIED: what was written was not read back"
HEADLINES = {
    Result.OK: "DONE: the copy is finished and verified",
    Result.HOLES: "DONE, BUT WITH HOLES: parts of the source could not be read",
    Result.DRY_RUN: "LOOKED ONLY: nothing was written",
    Result.STOPPED: "STOPPED by a person",
    Result.FAILED: "FAILED: this run made no usable copy",
}


def headline(report: Report) -> str:
    """What happened, in a few words."""
    if report.result is Result.OK and not report.verified:
        return NOT_VERIFIED
    return HEADLINES[report.result]


def render_report(report: Report, width: int = WIDTH) -> str:
    """The whole report, lines of at most `width` (79 or more) characters, ASCII only."""
    opening = (headline(report), *wrap(report.sentence, max(width, WIDTH)), "")
    return "\n".join(opening) + "\n" + render_details(report, width)


def render_details(report: Report, width: int = WIDTH) -> str:
    """All but the result: who, how much, what was changed."""
    return "\n".join(_details(report, max(width, WIDTH))) + "\n"


def _details(report: Report, width: int) -> Iterator[str]:
    yield from _who(report, width)
    if report.regions:
        yield ""
        yield from _table(_with_gaps_merged(report.regions))
        yield from _holes(report.regions, width)
    yield from _block("Every byte", tuple(map(_account, report.accounts)), width)
    yield from _finish(report, width)
    yield from _block("Warnings", report.warnings, width)
    changes = tuple(f"{change.where}: {change.what}" for change in report.changes)
    yield from _block("Changed beyond the bit copy", changes, width)
    if report.seconds:
        stages = ", ".join(f"{name} {taken:.1f}" for name, taken in report.seconds.items())
        yield from _block("Seconds", (stages,), width)


def _who(report: Report, width: int) -> Iterator[str]:
    proof = "yes, read back from the target's disks" if report.verified else "no"
    if report.regions and not report.verified:
        proven = sum(region.verified for region in report.regions)
        proof = f"no, only {proven} of {len(report.regions)} regions were read back whole"
    facts = {
        "source": _machine(report.source) if report.source else "",
        "target": _machine(report.target) if report.target else "",
        "started": _moment(report.started_at) if report.started_at else "",
        "verified": proof,
        "result": f"{report.result.value}, exit code {report.exit_code}",
        "program": f"UGS-Failover {report.version}",
        "plan": report.plan_digest,
    }
    for label, fact in facts.items():
        if not fact:
            continue
        first, *more = wrap(fact, width - 10)
        yield f"{label:9} {first}"
        yield from (" " * 10 + line for line in more)


def _moment(seconds: int) -> str:
    """A clock that was never set, or a peer's nonsense, is shown as the number it is."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"


def _machine(machine: MachineReference) -> str:
    name = f"{machine.host_name} on " if machine.host_name else ""
    return f"{name}{machine.label or machine.id}"


def _account(account: SettledAccount) -> str:
    """One disk of the source, as a sum."""
    copied = "copied and compared"
    if account.compared != account.copied:
        copied = f"copied, {amount(account.compared)} of it compared"
    if account.unreadable:
        copied += f", {amount(account.unreadable)} of it unreadable and zeros"
    parts = (
        (account.copied, copied),
        *((size, f"free by {kind}'s map") for kind, size in account.free.items()),
        (account.swap, "of swap, not carried"),
        (account.table, "of GPT, made anew"),
        (account.unread, "that no partition holds, not looked at"),
        (account.cut, "that no partition holds, behind the end of the target's disk"),
        (account.missing, "MISSING"),
    )
    total = ", ".join(f"{amount(size)} {words}" for size, words in parts if size)
    return f"{account.disk}: {total}"


_NAME = 21  # characters: "disk 12 partition 128"
_COLUMNS = (("total", 5), ("used", 5), ("wire", 5), ("held", 5), ("secs", 6), ("MB/s", 6))


def _with_gaps_merged(regions: tuple[RegionReport, ...]) -> tuple[RegionReport, ...]:
    """One row for all gaps of a disk, behind its partitions: their names tell people nothing."""
    merged: dict[str, RegionReport] = {}
    for region in regions:
        name = re.sub(r" gap \d+$", " gaps", region.name) if region.is_gap else region.name
        one = merged.get(name)
        if one is None or not region.is_gap:
            merged[name] = replace(region, name=name)
            continue
        merged[name] = replace(
            one,
            total=one.total + region.total,
            used=one.used + region.used,
            sent=one.sent + region.sent,
            held=one.held + region.held,
            seconds=one.seconds + region.seconds,
            target_digest="",
            verified=one.verified and region.verified,
        )
    return tuple(merged.values())


def _table(regions: tuple[RegionReport, ...]) -> Iterator[str]:
    """Bytes in powers of ten; MB/s is content (used), not wire, per second."""
    yield _row("region", "fs", tuple(title for title, _ in _COLUMNS), "digest", "ok")
    for region in regions:
        *lines, name = wrap(region.name, _NAME)
        yield from lines
        figures = (
            size(region.total),
            size(region.used),
            size(region.sent),
            size(region.held),
            _figure(region.seconds, 0),
            _figure(region.used / region.seconds / 1e6 if region.seconds > 0 else 0.0, 1),
        )
        kind = plain(region.file_system)[:5] or "-"
        digest = plain(region.target_digest)[:8] or "-"
        yield _row(name, kind, figures, digest, "yes" if region.verified else "NO")


def _row(name: str, kind: str, figures: tuple[str, ...], digest: str, verified: str) -> str:
    cells = (f"{cell:>{width}}" for cell, (_, width) in zip(figures, _COLUMNS, strict=True))
    return f"{name:{_NAME}} {kind:5} {' '.join(cells)} {digest:8} {verified}"


def _figure(value: float, digits: int) -> str:
    """A number that fits its column, or a dash."""
    text = f"{value:.{digits}f}"
    return text if value > 0 and len(text) <= 6 else "-"


def _holes(regions: tuple[RegionReport, ...], width: int) -> Iterator[str]:
    sentences = tuple(
        f"{region.name}: bytes {hole.offset} to {hole.offset + hole.length - 1} of the source "
        "could not be read; zeros stand in the copy"
        for region in regions
        for hole in region.holes
    )
    yield from _block("HOLES", sentences, width)


def _finish(report: Report, width: int) -> Iterator[str]:
    loader = report.boot_loader
    if loader is not None:
        checks = tuple(f"checked: {check}" for check in loader.checks)
        yield from _block("Boot loader", (f"{loader.loader}, {loader.strategy}", *checks), width)
    proof = report.boot_proof
    if proof is not None:
        behind = f" ({proof.seconds:.0f} s, behind {proof.controller})" if proof.controller else ""
        yield from _block("Boot proof", (f"{proof.verdict.value}{behind}: {proof.why}",), width)
    names = tuple(
        f"{card.name} is now {card.mac or 'without a card'} ({card.why})" for card in report.cards
    )
    yield from _block("Network cards", names, width)


def _block(title: str, texts: tuple[str, ...], width: int) -> Iterator[str]:
    if texts:
        yield ""
        yield f"{title}:"
        for text in texts:
            yield from wrap(f"- {text}", width, "  ")


def totals(report: Report) -> str:
    """One line over all regions: content, wire, what the target already had, time."""
    used = sum(region.used for region in report.regions)
    sent = sum(region.sent for region in report.regions)
    held = sum(region.held for region in report.regions)
    taken = sum(report.seconds.values())
    return (
        f"{amount(used)} of content, {amount(sent)} over the wire, "
        f"{amount(held)} already there, {duration(taken)} in all"
    )
