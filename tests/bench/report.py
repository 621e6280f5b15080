"""The table a person reads and the document a program reads."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import GOALS, Goal, Row, best_rows, find_ratios

WIDTH = 118
NOTE = (
    "Machines are noisy: compare ratios of one run, never times of two. Both sides share these "
    "processors, so where the processor is the limiter two real machines are quicker. 'other' is "
    "how many processors the kernel's threads and other programs kept busy: where it is much, the "
    "row is worth little. Each time ends when all is on the disk; ours holds encryption, digests "
    "and proof by reading back."
)


def describe_machine() -> dict[str, str]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load before": load(),
    }


def load() -> str:
    """Of the last minute: what else ran here."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def document(
    rows: Sequence[Row], machine: Mapping[str, str], parts: Mapping[str, float], quick: bool
) -> dict[str, Any]:
    """What is written to bench.json."""
    best = best_rows(rows)
    return {
        "machine": dict(machine),
        "quick": quick,
        "ratios": find_ratios(best),
        "seconds": {key: round(row.seconds, 2) for key, row in best.items()},
        "limiters": {key: row.limiter for key, row in best.items()},
        "parts": dict(parts),
        "rows": [_plain(row) for row in rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "seconds": round(row.seconds, 3),
        "used": row.used,
        "wire_bytes": row.wire_bytes,
        "sent": row.sent,
        "source_cpu": round(row.source_cpu, 2),
        "target_cpu": round(row.target_cpu, 2),
        "other_cpu": round(row.other_cpu, 2),
        "shares": {name: round(share, 3) for name, share in row.shares.items()},
        "memory": dict(row.memory),
        "steps": dict(row.steps),
        "flood": round(row.flood, 3),
    }


def show(
    rows: Sequence[Row], machine: Mapping[str, str], parts: Mapping[str, float], quick: bool
) -> None:
    console = Console(width=WIDTH, highlight=False)
    best = best_rows(rows)
    console.print(_rows_table(best))
    console.print(_goals_table(find_ratios(best), quick))
    words = "; ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    console.print(f"Processor seconds for 10^9 bytes of this image: {words}.")
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()) + ".")
    console.print(NOTE)


def render_markdown(rows: Sequence[Row]) -> str:
    """The two tables of docs/performance.md."""
    best = best_rows(rows)
    lines = ["| way | seconds | on the wire | CPU s/GB | other | limiter |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- |")
    for row in best.values():
        title = row.title.replace("|", "\\|")
        cpu = (row.cpu_per_gigabyte(row.source_cpu), row.cpu_per_gigabyte(row.target_cpu))
        lines.append(
            f"| {title} | {row.seconds:.1f} | {row.wire_bytes / 1e9:.2f} GB | "
            f"{cpu[0]:.2f} + {cpu[1]:.2f} | {row.other_cpu / row.seconds:.2f} | {row.limiter} |"
        )
    lines += ["", "| ratio | is | goal | |", "| --- | ---: | ---: | --- |"]
    ratios = find_ratios(best)
    for goal in GOALS:
        if goal.key in ratios:
            bound, met = _verdict(goal, ratios[goal.key])
            lines.append(f"| `{goal.key}` | {ratios[goal.key]:.2f} | {bound} | {met} |")
    return "\n".join(lines) + "\n"


def _verdict(goal: Goal, value: float) -> tuple[str, str]:
    """Goal and outcome in words; nothing where no goal was set."""
    if not goal.bound:
        return "", ""
    bound = f"{'at most' if goal.at_most else 'at least'} {goal.bound:g}"
    return bound, "met" if goal.met(value) else "missed"


def _rows_table(best: Mapping[str, Row]) -> Table:
    table = Table(title="Ways to copy", title_justify="left")
    for name in ("way", "seconds", "on the wire", "CPU s/GB", "other", "peak MiB", "busy"):
        left = name in ("way", "busy")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "busy")
    for row in best.values():
        cpu = (row.cpu_per_gigabyte(row.source_cpu), row.cpu_per_gigabyte(row.target_cpu))
        table.add_row(
            row.title,
            f"{row.seconds:.1f}",
            f"{row.wire_bytes / 1e9:.2f} GB",
            f"{cpu[0]:.2f} + {cpu[1]:.2f}",
            f"{row.other_cpu / row.seconds:.2f}",
            f"{max(row.memory.values(), default=0) / (1 << 20):.0f}",
            row.limiter,
        )
    return table


def _goals_table(ratios: Mapping[str, float], quick: bool) -> Table:
    title = "Ratios" + (" (quick: a small image, not what the goals are about)" if quick else "")
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("key")
    table.add_column("is", justify="right")
    table.add_column("goal", justify="right")
    table.add_column("")
    for goal in GOALS:
        if goal.key in ratios:
            bound, met = _verdict(goal, ratios[goal.key])
            table.add_row(goal.what, goal.key, f"{ratios[goal.key]:.2f}", bound, met)
    return table
