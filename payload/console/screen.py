"""The picture on the screen: a pure function from a view to exactly as many lines as fit.

Only characters that every Linux console font has: ASCII, the line ─ and the blocks █ ░ of code
page 437. Nothing is ever cut off: what does not fit is shown page by page, in turn.
"""

from collections.abc import Iterable, Sequence

from rich.text import Text

from payload.console.report_text import headline, render_details, totals
from payload.console.text import (
    amount,
    duration,
    megabytes_per_second,
    percent,
    plain,
    size,
    wrap,
)
from payload.console.view import STAGES, View, loud
from payload.model.event import Level, Note, Progress
from payload.model.report import Report, Result
from payload.model.role import Role

SMALLEST = (80, 24)
_FRAME = 4  # title, stages, two rules
_FIGURES = 27  # characters behind the bar of a region

_STYLES = {Level.INFO: "", Level.WARNING: "bold yellow", Level.ERROR: "bold white on red"}
_BANNERS = {
    Result.OK: "bold white on green",
    Result.HOLES: "bold white on red",
    Result.DRY_RUN: "bold white on cyan",
    Result.STOPPED: "bold black on yellow",
    Result.FAILED: "bold white on red",
}

_DIGITS = {
    "0": ("###", "# #", "# #", "# #", "###"),
    "1": (" # ", "## ", " # ", " # ", "###"),
    "2": ("###", "  #", "###", "#  ", "###"),
    "3": ("###", "  #", " ##", "  #", "###"),
    "4": ("# #", "# #", "###", "  #", "  #"),
    "5": ("###", "#  ", "###", "  #", "###"),
    "6": ("###", "#  ", "###", "# #", "###"),
    "7": ("###", "  #", " # ", " # ", " # "),
    "8": ("###", "# #", "###", "# #", "###"),
    "9": ("###", "# #", "###", "  #", "###"),
}


def render_screen(view: View, width: int, height: int, page: int = 0) -> tuple[Text, ...]:
    """Exactly `height` lines of at most `width` characters. `page` counts up with time and
    turns the pages of whatever does not fit. Sizes below 80x24 are taken as 80x24."""
    width, height = max(width, SMALLEST[0]), max(height, SMALLEST[1])
    room = height - _FRAME
    fixed = _fixed(view, width, room)
    flowing = _flowing(view, width, room)
    for_messages = _message_room(view, width, room - len(fixed), len(flowing))
    messages = turn(_messages(view, width, for_messages), for_messages, page)
    left = room - len(fixed) - len(messages)
    middle = _regions(view, width, left) if _copying(view) else turn(flowing, left, page)
    padding = [Text() for _ in range(left - len(middle))]
    rule = Text("─" * width, "blue")
    return (
        _title(view, width),
        _stages(view),
        rule,
        *fixed,
        *middle,
        *padding,
        rule,
        *messages,
    )


def turn(lines: Sequence[Text], room: int, page: int) -> list[Text]:
    """All lines if there is room, else one page of them with a line that says which."""
    if len(lines) <= room:
        return list(lines)
    if room < 2:
        return list(lines[page % len(lines) :][: max(room, 0)])
    per_page = room - 1
    pages = -(-len(lines) // per_page)
    shown = list(lines[page % pages * per_page :][:per_page])
    shown += [Text() for _ in range(per_page - len(shown))]
    return [*shown, Text(f"  (part {page % pages + 1} of {pages}, the others follow)", "dim")]


# The frame


def _title(view: View, width: int) -> Text:
    left = f" UGS-Failover {plain(view.version)}   {view.role.upper()}  "
    right = f"{plain(view.machine)} "
    text = left + right.rjust(width - len(left))
    return Text(text[:width], "bold white on blue")


def _stages(view: View) -> Text:
    """All stages in a row, the current one marked, those before it as done."""
    line = Text(" ")
    reached = STAGES.index(view.stage) if view.stage in STAGES else -1
    for index, name in enumerate(STAGES):
        if index == reached:
            line.append(f"[{name.upper()}]", "reverse")
        else:
            line.append(f" {name} ", "green" if index < reached else "dim")
        line.append("  ")
    return line


# The middle


def _copying(view: View) -> bool:
    return view.latest is not None and view.report is None and view.waiting is None


def _fixed(view: View, width: int, room: int) -> list[Text]:
    """What must be seen whatever else there is: result, countdown, or how far the copy is."""
    if view.report is not None:
        return _result(view.report, width, room)
    if view.countdown is not None:
        return _countdown(view.countdown, width)
    if _copying(view) and view.latest is not None:
        doing = _paragraph(view.doing, width, "bold")[:2]
        return [*doing, *_total(view.latest, width), Text()]
    return []


def _flowing(view: View, width: int, room: int) -> list[Text]:
    """What may be turned page by page."""
    if view.report is not None:
        return _final(view.report, view.role, width, room)
    if _copying(view):
        return _agreement(view, width)
    lines: list[Text] = []
    if view.waiting is not None:
        lines += _waiting(view, width)
    elif view.doing:
        lines += [*_paragraph(view.doing, width, "bold"), Text()]
    if view.agreement and view.waiting is None:
        lines += _agreement(view, width)
    if view.reasons and not view.agreement:
        lines += [Text(), *_paragraph(f"Role: {view.role}, because:", width, "bold")]
        for reason in view.reasons:
            lines += _paragraph(f"  - {reason}", width, "", "    ")
    return lines


def _paragraph(text: str, width: int, style: str = "", indent: str = "") -> list[Text]:
    """Wrapped lines with a margin of one; leading blanks of `text` are kept on every line."""
    margin = " " * (1 + len(text) - len(text.lstrip(" ")))
    inner = width - len(margin) - 1
    hanging = " " * max(0, len(indent) + 1 - len(margin))
    return [Text(margin + line, style) for line in wrap(text, inner, hanging)]


def _waiting(view: View, width: int) -> list[Text]:
    assert view.waiting is not None
    lines = _paragraph(view.waiting.text, width, "bold")
    if view.waiting.peers:
        lines += [Text(), *_paragraph("Machines seen:", width)]
    for peer in view.waiting.peers:
        lines += _paragraph(f"  - {peer}", width, "", "    ")
    return lines


def _agreement(view: View, width: int) -> list[Text]:
    lines: list[Text] = []
    for text in view.agreement:
        lines += _paragraph(text, width, "", "   ")
    return lines


def _countdown(seconds: int, width: int) -> list[Text]:
    glyphs = [_DIGITS[digit] for digit in str(max(0, seconds))[-6:]]
    rows = [
        "   ".join("".join("██" if dot == "#" else "  " for dot in glyph[row]) for glyph in glyphs)
        for row in range(5)
    ]
    unit = "second" if seconds == 1 else "seconds"
    words = f"The copy starts in {seconds} {unit}. Press any key to stop."
    return [
        Text(),
        *(Text(row.center(width).rstrip(), "bold yellow") for row in rows),
        Text(),
        Text(words.center(width).rstrip(), "bold"),
        Text(),
    ]


# How far the copy is


def _total(progress: Progress, width: int) -> list[Text]:
    wire = f"{amount(progress.sent)} over the wire, " if progress.sent else ""
    figures = (
        f" {amount(progress.all_done)} of {amount(progress.all_total)}, "
        f"{megabytes_per_second(progress.rate)}, {wire}{duration(progress.remaining)} left"
    )
    limiter = f", held up by the {progress.limiter}" if progress.limiter else ""
    label = f" {'all together':22}"
    return [
        _bar(label, progress.all_done, progress.all_total, width - _FIGURES, "bold green"),
        Text(figures),
        Text(f" {megabytes_per_second(progress.average)} on average{limiter}"),
    ]


def _region(progress: Progress, width: int) -> Text:
    """A bar, and how many bytes are done, in all, and were on the wire."""
    sent = f", {size(progress.region_sent):>5} sent" if progress.region_sent else ""
    figures = f"  {size(progress.done):>5} of {size(progress.total):>5}{sent}"
    label = f" {plain(progress.region)[:22]:22}"
    bar = _bar(label, progress.done, progress.total, width - _FIGURES, "green")
    return bar.append(figures)


def _bar(label: str, done: int, total: int, width: int, style: str) -> Text:
    """`label`, a bar over the free width, and percent."""
    reached = percent(done, total)
    length = max(10, width - len(label) - 8)
    filled = length * reached // 100
    line = Text(label + " ")
    line.append("█" * filled, style)
    line.append("░" * (length - filled), "dim")
    line.append(f" {reached:3}%")
    return line


def _regions(view: View, width: int, room: int) -> list[Text]:
    """One bar per region: those in work first of all, then the last ones done, in disk order;
    then what was agreed, as far as there is room."""
    regions = list(view.progress.values())
    unfinished = [one for one in regions if one.done < one.total]
    finished = [one for one in regions if one.done >= one.total]
    free = max(0, room - len(unfinished))
    kept = {one.region for one in (*unfinished[-room:], *(finished[-free:] if free else ()))}
    lines = [_region(one, width) for one in regions if one.region in kept][: max(room, 0)]
    agreed = [Text(), *_agreement(view, width)]
    return [*lines, *(agreed if len(lines) + len(agreed) <= room else ())]


# The end


def _result(report: Report, width: int, room: int) -> list[Text]:
    proven = report.verified or report.result is not Result.OK
    style = _BANNERS[report.result] if proven else "bold black on yellow"
    bar = Text(" " * width, style)
    head = Text(headline(report).center(width), style)
    lines = [bar, head, bar.copy(), Text()]
    return lines + (_sentence(report, width) if _shows_sentence(report, width, room) else [])


def _shows_sentence(report: Report, width: int, room: int) -> bool:
    """Whether the sentence can stand still above the pages."""
    return len(_sentence(report, width)) <= room - 12


def _sentence(report: Report, width: int) -> list[Text]:
    return [*_paragraph(report.sentence, width, "bold"), Text()]


def _final(report: Report, role: str, width: int, room: int) -> list[Text]:
    """What to do next, and the whole report behind it."""
    lines: list[Text] = []
    for step in next_steps(report.result, role):
        lines += _paragraph(f"> {step}", width, "bold", "   ")
    if lines:
        lines.append(Text())
    if report.regions:
        lines += [*_paragraph(totals(report), width), Text()]
    if not _shows_sentence(report, width, room):
        lines += _sentence(report, width)
    lines += [Text(f" {line}") for line in render_details(report, width - 1).splitlines()]
    return lines


def next_steps(result: Result, role: str) -> tuple[str, ...]:
    """What a person does now. Empty where the report's own sentence says it."""
    if result is Result.OK and role == Role.SOURCE:
        return ("Take the medium out of this server and start it: it is unchanged.",)
    if result is Result.OK and role == Role.TARGET:
        return (
            "Take the medium out of this machine and keep it switched off.",
            "Should the server fail: switch it off for good, then switch this machine on.",
            "Never run both at once: they have the same name and address.",
        )
    if result is Result.HOLES:
        return (
            "Read below which bytes are missing, and repair or replace the source's disk soon.",
            "The source itself was not changed.",
        )
    if result is Result.DRY_RUN:
        return ("Boot both machines with the first entry of the boot menu to make the copy.",)
    return ()


# Messages


def _note(note: Note, width: int) -> list[Text]:
    word = "" if note.level is Level.INFO else f"{note.level.value.upper()}: "
    return _paragraph(f"{word}{note.text}", width, _STYLES[note.level], "  ")


def _message_room(view: View, width: int, room: int, wanted: int) -> int:
    """A third of what is free, more when the middle leaves it or the last warning needs it."""
    urgent = max((len(_note(note, width)) for note in loud(view)[-1:]), default=0)
    return min(room - 4, max(room - wanted, room // 3, urgent))


def _messages(view: View, width: int, room: int) -> list[Text]:
    """The last messages, whole ones only; warnings and errors stay before plain notes. One that
    is longer than the room comes alone, and is turned page by page."""
    chosen: list[tuple[int, list[Text]]] = []
    numbered = list(enumerate(view.messages))
    used = 0
    newest_first = sorted(numbered[:-1], key=_urgency, reverse=True)
    for index, note in numbered[-1:] + newest_first:
        lines = _note(note, width)
        if used and used + len(lines) > room:
            continue
        chosen.append((index, lines))
        used += len(lines)
    return _joined(lines for _, lines in sorted(chosen, key=lambda entry: entry[0]))


def _urgency(entry: tuple[int, Note]) -> tuple[bool, int]:
    index, note = entry
    return (note.level is not Level.INFO, index)


def _joined(blocks: Iterable[list[Text]]) -> list[Text]:
    return [line for block in blocks for line in block]
