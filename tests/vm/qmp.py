"""QEMU's own control socket: ask what a machine does, take a picture of its screen, end it."""

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self


class QmpError(Exception):
    """QEMU did not answer, or refused."""


class Qmp:
    """One connection. `events` collects what QEMU told of its own accord, oldest first."""

    def __init__(self, path: Path, alive: Callable[[], bool], timeout: float = 30.0) -> None:
        """Connect as soon as the socket exists. Raises QmpError after `timeout` seconds, or when
        QEMU is no longer alive."""
        self.events: list[dict[str, Any]] = []
        self._socket = _connect(path, alive, timeout)
        self._socket.settimeout(timeout)
        self._lines = self._socket.makefile("rb")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command and return its answer. Raises QmpError."""
        request = json.dumps({"execute": command, "arguments": arguments})
        try:
            self._socket.sendall(request.encode() + b"\n")
        except OSError as error:
            raise QmpError(f"QEMU does not take {command!r}: {error}.") from error
        while True:
            message = self._read()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"QEMU refuses {command!r}: {message['error']['desc']}.")
            else:
                return message["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except OSError as error:
            raise QmpError(f"QEMU does not answer: {error}.") from error
        if not line:
            raise QmpError("QEMU closed its control socket.")
        message: dict[str, Any] = json.loads(line)
        return message


def _connect(path: Path, alive: Callable[[], bool], timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline or not alive():
                raise QmpError(f"QEMU opened no control socket: {error}.") from error
            time.sleep(0.05)
        else:
            return connection
