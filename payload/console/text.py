"""Foreign text made harmless, and figures made short.

Disk labels, host names and tool messages come from machines we know nothing about. Whatever they
contain, what is shown is printable ASCII: no escape sequence reaches a terminal, no newline breaks
a line apart.
"""

import textwrap

_UNITS = ("", "K", "M", "G", "T", "P", "E")


def plain(text: str) -> str:
    """Printable ASCII on one line: white space becomes one blank, all else an escape (\\x1b)."""
    words = " ".join(text.split())
    return "".join(_visible(character) for character in words)


def _visible(character: str) -> str:
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def wrap(text: str, width: int, indent: str = "") -> tuple[str, ...]:
    """Lines of at most `width` characters; words longer than a line are cut, nothing is lost.

    `indent` opens every line but the first. Empty text gives one empty line.
    """
    lines = textwrap.wrap(
        plain(text), width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=True
    )
    return tuple(lines) or ("",)


def size(number: int) -> str:
    """Bytes in at most five characters, powers of ten: "0", "512", "1.05M", "37.1G"."""
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return str(number)
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{_UNITS[unit]}"


def amount(number: int) -> str:
    """Bytes in a sentence: "512 B", "37.1 GB"."""
    short = size(number)
    return f"{short} B" if short[-1].isdigit() else f"{short[:-1]} {short[-1]}B"


def duration(seconds: float) -> str:
    """ "01:20", "2:03:04", "3 d 04:05", or "--:--" when nobody can know (a year is no guess)."""
    if not 0 <= seconds < 365 * 86400:
        return "--:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def megabytes_per_second(rate: float) -> str:
    """ "12.3 MB/s": 10^6 bytes."""
    return f"{rate / 1e6 if 0 <= rate < 1e15 else 0.0:.1f} MB/s"


def percent(done: int, total: int) -> int:
    """Whole percent, rounded down: 100 means all of it. Nothing to do is done."""
    return 100 if total <= 0 else min(100, max(0, done * 100 // total))
