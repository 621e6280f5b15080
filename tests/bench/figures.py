"""From measured rows to ratios, limiters and goals. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1 << 20
WIRE = 118e6  # bytes per second that TCP gets through 1 Gbit/s
WAITED_FOR = 0.85  # share of the time above which something is called the limiter


@dataclass(frozen=True)
class Row:
    """One way to copy, measured once. Sizes are bytes, shares are of the whole time."""

    key: str
    title: str
    seconds: float
    used: int  # bytes in use on the source
    wire_bytes: int
    source_cpu: float  # seconds
    target_cpu: float  # seconds
    other_cpu: float  # seconds
    shares: Mapping[str, float]
    memory: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)  # ours only, seconds
    sent: int = 0  # ours only: bytes of chunk bodies
    flood: float = 0.0  # share of all processors that strangers' programs took meanwhile

    @property
    def limiter(self) -> str:
        return name_limiter(self.shares) or name_busiest(self.shares)

    def cpu_per_gigabyte(self, seconds: float) -> float:
        return seconds / (self.used / 1e9)


@dataclass(frozen=True)
class Goal:
    """What a ratio has to be, and in words what it is of. Without a bound it is only told."""

    key: str
    what: str
    bound: float = 0.0
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


GOALS = (
    Goal("first_1g_dd", "1 Gbit/s, first copy: dd bs=64k | nc / ours", 3.3),
    Goal("first_1g_partclone_zstd", "1 Gbit/s: partclone | zstd -1 | nc / ours", 1.8),
    Goal("first_nolimit_dd", "no limit: dd bs=1M | nc / ours", 2.0),
    Goal("first_nolimit_partclone", "no limit: partclone | nc / ours", 2.5),
    Goal("refresh_1g_dd", "1 Gbit/s, refresh with 1 % changed: dd | nc / ours", 12),
    Goal("first_1g_floor", "1 Gbit/s: ours / wire floor", 1.25, at_most=True),
    Goal("rss_mib", "peak memory of either side, MiB", 300, at_most=True),
    Goal("linearity", "1, 2, 4 GiB: share off the line", 0.15, at_most=True),
    Goal("links_two", "500 Mbit/s: one link / two links"),
    Goal("disks_at_once", "two disks in turn / at once"),
    Goal("attacked", "no limit: rate under all attacks, their share taken off / undisturbed", 0.8),
    Goal("verify_off", "no limit: ours / ours with verify=off"),
)
# ratio -> row that is divided, row it is divided by
_PAIRS = {
    "first_1g_dd": ("dd_64k_1g", "ours_1g"),
    "first_1g_partclone_zstd": ("partclone_zstd_1g", "ours_1g"),
    "first_nolimit_dd": ("dd_1m_nolimit", "ours_nolimit"),
    "first_nolimit_partclone": ("partclone_nolimit", "ours_nolimit"),
    "refresh_1g_dd": ("dd_64k_1g", "ours_refresh_1g"),
    "links_two": ("ours_one_link", "ours_two_links"),
    "disks_at_once": ("ours_disks_in_turn", "ours_disks_at_once"),
    "verify_off": ("ours_nolimit", "ours_nolimit_unverified"),
}
LINE = "ours_linear_"  # rows of the same kind and of growing size


def name_limiter(shares: Mapping[str, float]) -> str:
    """What was busy (nearly) all the time, the busiest first; "" when nothing was."""
    busy = sorted(((share, name) for name, share in shares.items()), reverse=True)
    return ", ".join(name for share, name in busy if share >= WAITED_FOR)


def name_busiest(shares: Mapping[str, float]) -> str:
    """What came nearest to being the limiter, and how near; "" when nothing was measured."""
    share, name = max(((share, name) for name, share in shares.items()), default=(0.0, ""))
    return f"{name} {share:.0%}" if name else ""


def add_rows(key: str, title: str, rows: Sequence[Row]) -> Row:
    """What was done one after the other, as one row."""
    seconds = sum(row.seconds for row in rows)
    return Row(
        key,
        title,
        seconds,
        sum(row.used for row in rows),
        sum(row.wire_bytes for row in rows),
        sum(row.source_cpu for row in rows),
        sum(row.target_cpu for row in rows),
        sum(row.other_cpu for row in rows),
        {
            name: sum(row.shares.get(name, 0.0) * row.seconds for row in rows) / seconds
            for name in rows[0].shares
        },
        {name: max(row.memory.get(name, 0) for row in rows) for name in rows[0].memory},
        {name: sum(row.steps.get(name, 0.0) for row in rows) for name in rows[0].steps},
        sum(row.sent for row in rows),
    )


def best_rows(rows: Sequence[Row]) -> dict[str, Row]:
    """The quickest row of each key: what disturbs a machine only ever makes it slower."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.key not in best or row.seconds < best[row.key].seconds:
            best[row.key] = row
    return best


def find_ratios(best: Mapping[str, Row]) -> dict[str, float]:
    """The ratios whose rows were measured."""
    ratios = {
        key: best[peer].seconds / best[own].seconds
        for key, (peer, own) in _PAIRS.items()
        if peer in best and own in best
    }
    quiet, attacked = best.get("ours_quiet"), best.get("ours_attacked")
    if quiet is not None and attacked is not None:
        ratios["attacked"] = quiet.seconds / (attacked.seconds * (1 - attacked.flood))
    first = best.get("ours_1g")
    if first is not None:
        ratios["first_1g_floor"] = first.seconds / (first.sent / WIRE)
    peaks = [peak_memory(row) for key, row in best.items() if key.startswith("ours")]
    if peaks:
        ratios["rss_mib"] = max(peaks) / MIB
    line = sorted((row.used, row.seconds) for key, row in best.items() if key.startswith(LINE))
    if len(line) > 2:
        ratios["linearity"] = find_bend(line)
    return {key: round(value, 3) for key, value in ratios.items()}


def peak_memory(row: Row) -> int:
    """Bytes of the side that took more. Its tools run while it waits: the larger one counts."""
    return max(row.memory.values(), default=0)


def find_bend(points: Sequence[tuple[int, float]]) -> float:
    """How far (bytes, seconds) are off a straight line with a constant part, as the largest share
    of what the bytes themselves take by that line."""
    count = len(points)
    mean_size = sum(size for size, _ in points) / count
    mean_time = sum(time for _, time in points) / count
    spread = sum((size - mean_size) ** 2 for size, _ in points)
    slope = sum((size - mean_size) * (time - mean_time) for size, time in points) / spread
    if slope <= 0:
        return float("inf")
    constant = mean_time - slope * mean_size
    return max(abs(time - constant - slope * size) / (slope * size) for size, time in points)
