"""Speed of a copy beside that of the tools people would use else, in one run.

    python -m tests.bench [--quick] [--case gigabit ...] [--output build/bench/bench.json]

Needs root: two network namespaces play the machines, image files their disks.
"""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from payload.model.codec import to_pretty_json
from payload.wire.tls import make_site_key
from tests.bench.cases import CASES, FULL, QUICK, Bench
from tests.bench.figures import Row
from tests.bench.network import wire
from tests.bench.parts import measure_parts
from tests.bench.report import describe_machine, document, load, render_markdown, show
from tests.bench.work import Bay, has_room

SAME_DISK = "on the target's disk: there is no room elsewhere, and what reads both is slower"


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, _leave)
    directory = options.output.parent.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    sizes = QUICK if options.quick else FULL
    machine = describe_machine()
    rows: list[Row] = []
    with (
        wire() as between,
        TemporaryDirectory(prefix="ugs-bench-") as site,
        source_bay(options.source_directory, sizes.image) as bay,
    ):
        machine["source image"] = f"below {options.source_directory}" if bay else SAME_DISK
        print(f"bench: the source's image lies {machine['source image']}", flush=True)
        make_site_key(Path(site))
        bench = Bench(between, directory, Path(site), bay)
        parts = measure_parts(bench.original(sizes.image, sizes.used))
        for _ in range(options.repeats):
            for name in options.case:
                for row in CASES[name](bench, sizes):
                    print(f"bench: {row.title}: {row.seconds:.1f} s", flush=True)
                    rows.append(row)
    machine["load after"] = load()
    for path in (*directory.glob("target*.img"), directory / "source-second.img"):
        path.unlink(missing_ok=True)
    options.output.write_bytes(to_pretty_json(document(rows, machine, parts, options.quick)))
    options.output.with_suffix(".md").write_text(render_markdown(rows))
    show(rows, machine, parts, options.quick)
    print(f"bench: written to {options.output}")


@contextmanager
def source_bay(directory: Path, size: int) -> Iterator[Bay | None]:
    """A place for the source's disks below `directory`, gone at the end. None if there is no room
    for `size` bytes."""
    if not has_room(directory, size):
        yield None
        return
    with TemporaryDirectory(prefix="ugs-bench-", dir=directory) as place:
        bay = Bay(Path(place))
        try:
            yield bay
        finally:
            bay.empty()


def _leave(*_: object) -> None:
    """Also who is told to end cleans up."""
    raise SystemExit("bench: told to end")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--output", type=Path, default=Path("build/bench/bench.json"))
    parser.add_argument(
        "--source-directory",
        type=Path,
        default=Path("/dev/shm"),
        help="where the source's image lies, best on another disk than the target's",
    )
    parser.add_argument("--quick", action="store_true", help="a small image, for development")
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=1, help="the best of so many counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
