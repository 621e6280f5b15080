"""QEMU's control socket: ask what a machine does, read its memory, take a picture of its screen.

QMP is lines of JSON over a unix socket, "QEMU Machine Protocol" in QEMU's documentation.
"""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from payload.model.errors import ToolError

ANSWER = 30.0  # seconds QEMU may take for one answer
LONGEST = 1 << 20  # bytes of an answer
LOOK = 0.05  # seconds between two tries to connect


class Qmp:
    """One connection, by one thread. Raises ToolError whenever QEMU is gone, silent, or refuses."""

    def __init__(self, path: Path, alive: Callable[[], bool]) -> None:
        """Connect as soon as the socket exists."""
        self.end = ""  # why the machine stopped: "guest-shutdown", "guest-reset"...
        self._socket = _connect(path, alive)
        self._socket.settimeout(ANSWER)
        self._lines = self._socket.makefile("rb")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its answer."""
        words = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = json.dumps({"execute": command, "arguments": words})
        try:
            self._socket.sendall(request.encode() + b"\n")
        except OSError as error:
            raise ToolError(f"QEMU does not take {command!r}: {error}.") from error
        while True:
            message = self._read()
            if "error" in message:
                raise ToolError(f"QEMU refuses {command!r}: {message['error'].get('desc')}.")
            if "return" in message:
                return message["return"]
            if message.get("event") == "SHUTDOWN":
                self.end = str(message["data"]["reason"])

    def monitor(self, line: str) -> str:
        """What the monitor for people answers to a line: some things only that tells."""
        return str(self.execute("human-monitor-command", command_line=line))

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(LONGEST + 1)
            if len(line) > LONGEST:
                raise ToolError("QEMU's answer is longer than any.")
            message = json.loads(line) if line else None
        except (OSError, ValueError) as error:
            raise ToolError(f"QEMU does not answer: {error}.") from error
        if not isinstance(message, dict):
            raise ToolError("QEMU closed its control socket.")
        return message


def _connect(path: Path, alive: Callable[[], bool]) -> socket.socket:
    end = time.monotonic() + ANSWER
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            if time.monotonic() > end or not alive():
                raise ToolError(f"QEMU opened no control socket: {error.strerror}.") from error
            time.sleep(LOOK)
        else:
            return connection
