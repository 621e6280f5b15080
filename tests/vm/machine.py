"""A running machine in QEMU: what it says, and that it is gone afterwards.

Nothing here waits for time: a machine is watched on its serial line, and "QEMU ended" is never
success. `-no-shutdown` keeps a machine that powered itself off, so that one can tell a power off
from a crash of QEMU.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Self

from payload.model.errors import ToolError
from payload.model.machine import Firmware
from payload.system.qmp import Qmp
from tests.vm.accelerator import Accelerator
from tests.vm.hardware import OVMF_VARIABLES, SECURE_VARIABLES, Hardware, plan_arguments

POLL_SECONDS = 0.2
KEY_MILLISECONDS = 30


class MachineError(Exception):
    """A machine did not do what was waited for; the text says which machine and its last words."""


class State(StrEnum):
    """What became of a machine."""

    RUNNING = "running"
    POWERED_OFF = "powered off"  # by itself
    RESET = "reset"  # it wanted to boot again
    STOPPED = "stopped"  # QEMU paused it: a panic, or an error of the host
    GONE = "gone"  # QEMU itself ended


_KEYS = {
    " ": ("spc",), "\n": ("ret",), "/": ("slash",), ".": ("dot",), "-": ("minus",),
    ";": ("semicolon",), "(": ("shift", "9"), ")": ("shift", "0"), "*": ("shift", "8"),
    ">": ("shift", "dot"),
}  # fmt: skip


def plan_keys(text: str) -> list[tuple[str, ...]]:
    """The keys of a US keyboard to press together, one after the other. Raises KeyError for what
    is neither a letter, a digit nor one of the few signs that commands here are made of."""
    keys: list[tuple[str, ...]] = []
    for letter in text:
        if letter.isascii() and letter.isalnum():
            held = ("shift",) if letter.isupper() else ()
            keys.append((*held, letter.lower()))
        else:
            keys.append(_KEYS[letter])
    return keys


class Machine:
    """A running machine: a context manager that kills the QEMU it started on every path.

    Its serial log is `directory/NAME.log`, complete from power-on; pictures are NAME-*.png.
    """

    def __init__(self, hardware: Hardware, directory: Path, accelerator: Accelerator) -> None:
        self.hardware = hardware
        self.accelerator = accelerator
        self.directory = directory.resolve()
        self.log = self.directory / f"{hardware.name}.log"
        self.started = 0.0
        self._seen = 0
        self._pictures = 0

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        # Unix socket paths are short by nature (108 bytes); a checkout's path may not be.
        self._sockets = Path(tempfile.mkdtemp(prefix="ugs-vm-"))
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self._sockets)
            raise
        return self

    def _start(self) -> None:
        self.log.write_bytes(b"")
        arguments = plan_arguments(
            self.hardware, self.accelerator, self._sockets, self.log, self._variables()
        )
        self.started = time.monotonic()
        # setpriv: the machine ends also when this process is killed and cannot clean up.
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            self._qmp = Qmp(self._sockets / "qmp", lambda: self._process.poll() is None)
        except ToolError as error:
            raise MachineError(f"{self.name}: {error} QEMU says: {self._end()}") from error
        except BaseException:
            self._end()
            raise

    def _variables(self) -> Path:
        variables = self.hardware.variables or self._sockets / "variables.fd"
        if self.hardware.firmware is Firmware.UEFI and not variables.exists():
            fresh = SECURE_VARIABLES if self.hardware.secure_boot else OVMF_VARIABLES
            shutil.copyfile(fresh, variables)
        return variables

    def __exit__(self, *_: object) -> None:
        self._qmp.close()
        self._end()
        shutil.rmtree(self._sockets)

    def _end(self) -> str:
        """Kill QEMU and return what it said on its error output."""
        self._process.kill()
        _, words = self._process.communicate()
        return words.decode(errors="replace").strip()

    @property
    def name(self) -> str:
        return self.hardware.name

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self.started

    @property
    def state(self) -> State:
        """What the machine does now."""
        try:
            status = self._qmp.execute("query-status")["status"]
        except ToolError:
            return State.GONE
        if status in ("running", "prelaunch", "inmigrate"):
            return State.RUNNING
        if status != "shutdown":
            return State.STOPPED
        return State.POWERED_OFF if self._qmp.end == "guest-shutdown" else State.RESET

    @property
    def text(self) -> str:
        """Everything the serial line said so far, without colours and carriage returns."""
        return clean(self.log.read_bytes().decode("utf-8", errors="replace"))

    @property
    def last_line(self) -> str:
        """The last line with anything on it."""
        return next((line for line in reversed(self.text.splitlines()) if line.strip()), "")

    def new_lines(self) -> list[str]:
        """The complete lines that came since the last call."""
        with self.log.open("rb") as stream:
            stream.seek(self._seen)
            fresh = stream.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._seen += len(complete)
        return clean(complete.decode("utf-8", errors="replace")).splitlines()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the serial line says it. Raises MachineError when it does not in time, or
        when the machine ended without having said it."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state  # before the text: the last words come before the end
            if match := re.search(pattern, self.text, re.MULTILINE):
                return match
            if state is not State.RUNNING:
                raise MachineError(self._complaint(f"{state} before it said {pattern!r}"))
            if time.monotonic() > deadline:
                raise MachineError(self._complaint(f"did not say {pattern!r} in {seconds:.0f} s"))
            time.sleep(POLL_SECONDS)

    def wait_for_power_off(self, seconds: float) -> None:
        """Wait until the machine switched itself off. Raises MachineError for any other end."""
        deadline = time.monotonic() + seconds
        while (state := self.state) is State.RUNNING:
            if time.monotonic() > deadline:
                raise MachineError(self._complaint(f"did not power off in {seconds:.0f} s"))
            time.sleep(POLL_SECONDS)
        if state is not State.POWERED_OFF:
            raise MachineError(self._complaint(f"{state} instead of powering off"))

    def _complaint(self, what: str) -> str:
        lines = [line for line in self.text.splitlines() if line.strip()][-5:]
        return f"machine {self.name} {what}; its last words: " + " / ".join(lines)

    def type_line(self, line: str) -> None:
        """Type on the serial line, as a person at a terminal does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._sockets / "serial"))
            connection.sendall(line.encode() + b"\r")
            # QEMU writes to whoever is connected: take what comes, so that nothing stalls.
            connection.settimeout(0.5)
            try:
                while connection.recv(4096):
                    pass
            except TimeoutError:
                pass

    def type_keys(self, text: str) -> None:
        """Type on the keyboard. What it can type: `plan_keys`."""
        for keys in plan_keys(text):
            codes = [{"type": "qcode", "data": key} for key in keys]
            self._qmp.execute("send-key", **{"keys": codes, "hold-time": KEY_MILLISECONDS})
            time.sleep(2 * KEY_MILLISECONDS / 1000)

    def turn_to_console(self, number: int) -> None:
        """As a person does with Alt and a function key."""
        codes = [{"type": "qcode", "data": key} for key in ("alt", f"f{number}")]
        self._qmp.execute("send-key", keys=codes)

    def take_picture(self, what: str = "") -> Path | None:
        """The screen as PNG, or None when QEMU cannot (the machine just went)."""
        self._pictures += 1
        picture = self.directory / f"{self.name}-{self._pictures}{'-' if what else ''}{what}.png"
        try:
            self._qmp.execute("screendump", filename=str(picture), format="png")
        except ToolError:
            return None
        return picture


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>cM78]|[\r\x00\x07]")


def clean(text: str) -> str:
    """Terminal output as plain text."""
    return _ESCAPES.sub("", text)
