"""Two processes, one on each machine, and what they cost together.

The one that listens is started first, the one that calls prints a line when it is ready and waits
for one: so the time is that of the copy, not of loading a program.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.network import Wire, listens
from tests.support.network_namespaces import Machine

DEADLINE = 300.0  # seconds for one row
LOOK = 0.2  # seconds between two looks at the processes
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Costs:
    """Of one row. Shares are of the whole time, 1.0 is all of it."""

    seconds: float
    wire_bytes: int
    source_cpu: float  # seconds
    target_cpu: float  # seconds
    other_cpu: float  # seconds of the kernel's own threads and of whatever else ran
    shares: Mapping[str, float]  # what it may have waited for -> how busy that was
    memory: Mapping[str, int]  # "source python" -> peak resident bytes


@dataclass
class Watched:
    """One side's process with its children and threads, looked at while it runs."""

    side: str
    process: "subprocess.Popen[str]"
    memory: dict[str, int] = field(default_factory=dict)
    threads: dict[int, tuple[str, float]] = field(default_factory=dict)
    cpu_before: float = 0.0
    threads_before: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        for pid in _family(self.process.pid):
            self._look_at_memory(pid)
            for thread in _entries(Path(f"/proc/{pid}/task")):
                name, seconds = _thread(pid, thread)
                if name:
                    self.threads[thread] = (name, seconds)

    def _look_at_memory(self, pid: int) -> None:
        status = _status(pid)
        if "VmHWM" in status:
            name = f"{self.side} {status['Name']}"
            peak = int(status["VmHWM"].split()[0]) * 1024
            self.memory[name] = max(self.memory.get(name, 0), peak)

    def begin(self) -> None:
        """The copy starts now: what was used before does not count."""
        self.look()
        self.cpu_before = cpu_of(self.process.pid)
        self.threads_before = {thread: used for thread, (_, used) in self.threads.items()}

    def busiest(self) -> tuple[str, float]:
        """The thread that used most processor time since, and its seconds."""
        used = [
            (name, seconds - self.threads_before.get(thread, 0.0))
            for thread, (name, seconds) in self.threads.items()
        ]
        return max(used, key=lambda one: one[1], default=("", 0.0))


def measure(
    wire: Wire,
    rate: int,
    listening: tuple[Machine, Sequence[str]],
    calling: tuple[Machine, Sequence[str]],
    disk: Callable[[], float],
) -> Costs:
    """Run both to their ends. `disk` tells the seconds the disk was busy so far. Raises
    SystemExit when either fails."""
    with ExitStack() as stack:
        first = _start(stack, wire, *listening)
        _until(lambda: listens(listening[0]), first.process)
        second = _start(stack, wire, *calling)
        assert second.process.stdin and second.process.stdout
        if second.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{calling[1]} did not become ready.")
        sides = {watched.side: watched for watched in (first, second)}
        for watched in sides.values():
            watched.begin()
        before, busy, worked = wire.sent(), _busy(), disk()
        start = time.monotonic()
        second.process.stdin.write("go\n")
        second.process.stdin.flush()
        cpu = _wait(sides, start)
        seconds = time.monotonic() - start
        busy_after = _busy()
        shares = {
            "processor": _share(busy, busy_after),
            "disk": (disk() - worked) / seconds,
            **{
                f"{side} {watched.busiest()[0]}": watched.busiest()[1] / seconds
                for side, watched in sides.items()
            },
        }
        sent = wire.sent() - before
        if rate:
            shares["wire"] = sent * 8 / (rate * 1e6) / seconds
        other = (busy_after[0] - busy[0]) / TICKS - sum(cpu.values())
        memory = {name: peak for one in sides.values() for name, peak in one.memory.items()}
        return Costs(seconds, sent, cpu["source"], cpu["target"], other, shares, memory)


def _start(stack: ExitStack, wire: Wire, machine: Machine, argv: Sequence[str]) -> Watched:
    process = machine.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(_end, process)
    return Watched("source" if machine == wire.source else "target", process)


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{process.args!r} never listened.")
        time.sleep(0.05)


def _wait(sides: Mapping[str, Watched], start: float) -> dict[str, float]:
    """Wait for both, watching them. Returns processor seconds, those of children included."""
    used: dict[str, float] = {}
    done = threading.Event()

    def wait(watched: Watched) -> None:
        _, status, usage = os.wait4(watched.process.pid, 0)
        watched.process.returncode = os.waitstatus_to_exitcode(status)
        used[watched.side] = usage.ru_utime + usage.ru_stime - watched.cpu_before
        if len(used) == len(sides) or watched.process.returncode:
            done.set()

    for watched in sides.values():
        threading.Thread(target=wait, args=(watched,), daemon=True).start()
    while not done.wait(LOOK):
        for watched in sides.values():
            watched.look()
        if time.monotonic() - start > DEADLINE:
            raise SystemExit(f"Not done after {DEADLINE:g} seconds.")
    for watched in sides.values():
        if watched.process.returncode:
            raise SystemExit(f"{watched.process.args!r} ended with {watched.process.returncode}.")
    return used


# --- what the kernel tells


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in _entries(Path(f"/proc/{pid}/task")):
        for child in _read(Path(f"/proc/{pid}/task/{thread}/children")).split():
            yield from _family(int(child))


def _entries(directory: Path) -> list[int]:
    try:
        return [int(entry.name) for entry in directory.iterdir()]
    except OSError:
        return []


def _read(path: Path) -> str:
    """One file of /proc, "" when its process has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _status(pid: int) -> dict[str, str]:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _thread(pid: int, thread: int) -> tuple[str, float]:
    text = _read(Path(f"/proc/{pid}/task/{thread}/stat"))
    name, fields = _fields(text)
    return name, sum(map(int, fields[11:13])) / TICKS


def cpu_of(pid: int) -> float:
    """Seconds, those of children that ended included: as `wait4` will count them."""
    _, fields = _fields(_read(Path(f"/proc/{pid}/stat")))
    return sum(map(int, fields[11:15])) / TICKS


def _fields(text: str) -> tuple[str, list[str]]:
    """The name, which may hold blanks, and the fields behind it."""
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()


def _busy() -> tuple[int, int]:
    """Ticks in which a processor worked or was taken from us, and all ticks."""
    ticks = [int(word) for word in _read(Path("/proc/stat")).splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def disk_clock(directory: Path) -> Callable[[], float]:
    """Seconds in which the disk below `directory` had anything to do."""
    number = directory.stat().st_dev
    entry = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    return lambda: int((_read(entry).split() or ["0"] * 10)[9]) / 1000
