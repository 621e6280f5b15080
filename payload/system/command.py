"""Start processes: the one place where this program does so.

A tool runs in a session of its own, so that a tool that hangs is ended together with whatever it
started, and so that a key pressed on the console never reaches it.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from payload.model.errors import ToolError

LAST_LINES = 4  # of stderr, in the error
GRACE = 5.0  # seconds a killed tool may take to be gone; one in disk sleep may take for ever


@dataclass(frozen=True)
class Completed:
    """A process that ended as expected. Output is UTF-8, other bytes kept as surrogates."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


class Run(Protocol):
    """The one way to start a process (`run`, below)."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        """Run a tool with LC_ALL=C. Raises ToolError when it is missing, takes longer than
        `timeout` seconds or ends with a code not in `ok`."""


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = 60.0,
    ok: tuple[int, ...] = (0,),
) -> Completed:
    """Run a tool to its end. `timeout` is seconds; without `stdin` the tool's input is closed.

    Raises ToolError when the tool is missing, takes longer, or ends with a code not in `ok`.
    """
    with _start(argv, stdin) as process:
        try:
            stdout, stderr = process.communicate(stdin or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ToolError(
                f"The command `{shlex.join(argv)}` did not end within {timeout:g} seconds"
                " and was ended."
            ) from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode not in ok:
        raise _failure(argv, process.returncode, stderr)
    return Completed(tuple(argv), process.returncode, stdout, stderr)


def _start(argv: Sequence[str], stdin: str) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(  # noqa: S603  (argv is a list, no shell)
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            f"The command `{shlex.join(argv)}` could not be started: {error.strerror}."
        ) from error


def _environment() -> dict[str, str]:
    """Ours, but speaking plain English: LANGUAGE would win over LC_ALL in some tools."""
    kept = {name: value for name, value in os.environ.items() if name != "LANGUAGE"}
    return kept | {"LC_ALL": "C"}


def _kill(process: subprocess.Popen[str]) -> None:
    """End the tool and its children, and close the pipes whoever else still holds them."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(GRACE)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        # In uninterruptible sleep on a broken disk. Popen.__exit__ would wait for it for ever.
        process.returncode = process.returncode or -signal.SIGKILL


def _failure(argv: Sequence[str], code: int, stderr: str) -> ToolError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()][-LAST_LINES:]
    said = "; ".join(lines) or "it said nothing"
    ended = f"was ended by signal {-code}" if code < 0 else f"failed with code {code}"
    sentence = f"The command `{shlex.join(argv)}` {ended}: {said}"
    return ToolError(sentence, code=code, stderr=stderr)
