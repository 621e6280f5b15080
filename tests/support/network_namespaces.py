"""Machines as network namespaces, joined by switches: real cards, real kernels, no cable.

    with network(2, cards=2) as (source, target):
        with source.inside():
            ...
        target.unplug("eth0")

Each machine has cards eth0, eth1, ... (veth); all cards of one name hang on the same switch, a
bridge in a namespace of its own. Nothing reaches the host's network, and everything is gone when
the block ends, whatever happened in it.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from payload.system.command import Completed, Run, run
from payload.system.links import Links

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()

# dhcpcd keeps its pid files and its identity in these; two machines must not share them.
_PRIVATE = ("/run/dhcpcd", "/var/lib/dhcpcd")
# And where mounts are not shared, a mount that another thread has for a moment would live on in
# the machine's copy of all mounts, and keep its disk busy. Some are gone before their turn comes.
_EXEC = """
awk '$2 ~ "/ugs-(failover|look)-" { print $2 }' /proc/self/mounts |
    xargs -r -n1 umount 2>/dev/null || :
for place in %s; do
    mkdir -p "$place" "$0$place"
    mount --bind "$0$place" "$place"
done
exec "$@"
""" % " ".join(_PRIVATE)  # noqa: UP031  (braces are the shell's here)


def _ip(*words: str) -> str:
    argv = ["ip", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


@dataclass(frozen=True)
class Machine:
    """One namespace with its cards."""

    name: str
    switch: str  # the namespace of the switches
    cards: tuple[str, ...]
    state: Path  # what dhcpcd of this machine keeps

    def command(self, argv: Sequence[str]) -> list[str]:
        """The argv that runs `argv` on this machine, with a /sys and a dhcpcd of its own."""
        return ["ip", "netns", "exec", self.name, "sh", "-ec", _EXEC, str(self.state), *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        """The adapter `system.host.Run`, on this machine."""
        return run(self.command(argv), stdin=stdin, timeout=timeout, ok=ok)

    def start(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        """A process on this machine. The network's end ends it, if nobody else does."""
        return subprocess.Popen(self.command(argv), **options)

    def ip(self, *words: str) -> str:
        """Output of the ip tool on this machine."""
        return _ip("-n", self.name, *words)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and those it starts, use this machine's network (but the host's /sys)."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        away = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(away)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(away)
            os.close(home)

    def cut(self) -> None:
        """End every connection this machine has called for, at both ends, the cable left in."""
        subprocess.run(
            ["ip", "netns", "exec", self.name, "ss", "--kill", "dport", "=", "10000"],
            capture_output=True,
            check=True,
        )

    def unplug(self, card: str) -> None:
        """Pull the cable: this machine loses its carrier, the others see only silence."""
        _ip("-n", self.switch, "link", "set", self._port(card), "down")

    def plug(self, card: str) -> None:
        _ip("-n", self.switch, "link", "set", self._port(card), "up")

    def _port(self, card: str) -> str:
        return f"{self.name.rpartition('-')[2]}{card}"


def namespace_links(run_tool: Run = run) -> Links:
    """The real `Links`, for which veth cards are cards. A thread `inside` a machine passes the
    machine's `run`, a process started on it does not need to."""
    return Links(run_tool, is_card=lambda name: name.startswith("eth"))


@contextmanager
def network(
    count: int = 2, *, cards: int = 1, plugged: bool = True
) -> Iterator[tuple[Machine, ...]]:
    """`count` machines on `cards` switches. `plugged=False` leaves every cable out."""
    base = f"ugs{os.getpid()}n{next(_numbers)}"
    names = tuple(f"eth{number}" for number in range(cards))
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace(f"{base}-switch"))
        for card in names:
            _ip("-n", switch, "link", "add", f"br{card}", "type", "bridge", "mcast_snooping", "0")
            _ip("-n", switch, "link", "set", f"br{card}", "up")
        machines = []
        for number in range(count):
            name = stack.enter_context(_namespace(f"{base}-m{number}"))
            state = Path(stack.enter_context(TemporaryDirectory(prefix=f"{name}-")))
            machines.append(Machine(name, switch, names, state))
            for card in names:
                _join(machines[-1], card)
                if plugged:
                    machines[-1].plug(card)
        yield tuple(machines)


def _join(machine: Machine, card: str) -> None:
    port = machine._port(card)
    pair = ("type", "veth", "peer", "name", card, "netns", machine.name)
    _ip("-n", machine.switch, "link", "add", port, *pair)
    _ip("-n", machine.switch, "link", "set", port, "master", f"br{card}")


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        for pid in _ip("netns", "pids", name).split():
            if int(pid) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "del", name)


def _enter(descriptor: int) -> None:
    """`setns` for this thread; Python has it from 3.12 on only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def exists(name: str) -> bool:
    return Path(f"/run/netns/{name}").exists()
