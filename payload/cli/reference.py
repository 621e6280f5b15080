"""Reference pages printed from the code itself, so that they cannot say something else.

`make docs` writes them into `docs/`; a test compares.
"""

from collections.abc import Iterator

from payload.decide.role import PAIR_RULES, RULES
from payload.model.errors import FailoverError
from payload.model.settings import KEYS, Settings

NOTICE = "<!-- Printed from the code by `make docs`; change it there. -->"
NOTICE_END = "<!-- End of what is printed. -->"


def exit_codes() -> str:
    """docs/exit-codes.md"""
    rows = [(str(kind.exit_code), kind.meaning) for kind in _error_kinds(FailoverError)]
    rows += [
        ("0", "done, or there was nothing to do"),
        ("20", "`adapt --check` found files that it would change; nothing was touched"),
        ("130", "ended from outside (Ctrl-C, or the service was stopped)"),
        ("141", "whoever read the output went away"),
    ]
    codes: dict[int, str] = {}
    for code, meaning in rows:
        codes.setdefault(int(code), meaning)
    return _page(
        "Exit codes",
        "Every command of `python3 -m payload` ends with one of these. "
        "A report (`report.json`) carries the code of its run as `exit_code`.",
        ("code", "meaning"),
        tuple((str(code), codes[code]) for code in sorted(codes)),
    )


def _error_kinds(kind: type[FailoverError]) -> Iterator[type[FailoverError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _error_kinds(derived)


def settings() -> str:
    """docs/settings.md"""
    defaults = Settings()
    return _page(
        "Settings",
        "All are optional. `failover.KEY=VALUE` on the kernel line (iso-config/kernel-parameters, "
        "or typed in the boot menu) wins over `KEY = VALUE` in `site.toml`; a key with a dot, as "
        '`after.source`, stands there as `source = "..."` below `[after]`. An unknown key or a '
        "value out of range ends the run before anything is looked at, and so does a word of the "
        "kernel line that is nearly one of these, as `failover-dry-run`.",
        ("key", "values", "default", "what it does"),
        tuple(
            (f"`{name}`", key.values, _default(getattr(defaults, key.field)), key.meaning)
            for name, key in KEYS.items()
        ),
    )


def _default(value: object) -> str:
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value not in ("", ()) else "(none)"


def roles() -> str:
    """The two tables of docs/safety.md"""
    alone = tuple((rule.name, rule.role.value, " ".join(rule.reason.split())) for rule in RULES)
    paired = tuple((rule.name, " ".join(rule.reason.split())) for rule in PAIR_RULES)
    return (
        "## Which role a machine takes\n\nThe first row that holds decides. The screen shows its "
        f"reason, and what was found on each disk.\n\n{_table(('row', 'role', 'reason'), alone)}\n"
        "## Two machines that met\n\nAny row that holds means that nothing is written; each "
        f"machine asks for itself.\n\n{_table(('row', 'reason'), paired)}"
    )


def fill(page: str) -> str:
    """A page that people write, with the tables that belong between its two notices made anew."""
    before, begin, rest = page.partition(f"{NOTICE}\n")
    _, end, after = rest.partition(f"{NOTICE_END}\n")
    if not end:
        raise ValueError(f"it lacks {NOTICE} and {NOTICE_END} after it")
    return f"{before}{begin}\n{roles()}\n{end}{after}"


def _page(title: str, text: str, head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> str:
    return f"{NOTICE}\n\n# {title}\n\n{text}\n\n{_table(head, rows)}"


def _table(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PAGES = {"exit-codes.md": exit_codes, "settings.md": settings}
FILLED = "safety.md"  # has the tables of roles among its text
