"""How processes are started and what their end is called, with processes of paper."""

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, Self

import pytest

from payload.model.errors import ToolError
from payload.system import command
from payload.system.command import Completed, run


class Paper:
    """A process that said this and ended so. `killed` has what was sent to its group."""

    pid = 4711

    def __init__(self, code: int = 0, stdout: str = "", stderr: str = "") -> None:
        self.returncode: Any = code
        self.said = (stdout, stderr)
        self.argv: list[str] = []
        self.options: dict[str, Any] = {}
        self.given: tuple[Any, Any] = (None, None)
        self.fault: BaseException | None = None
        self.gone_in_time = True
        self.waited: list[float] = []

    def __call__(self, argv: list[str], **options: Any) -> Self:
        self.argv, self.options = argv, options
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.returncode is not None, "Popen would wait for ever"

    def communicate(self, stdin: str | None, timeout: float) -> tuple[str, str]:
        self.given = (stdin, timeout)
        if self.fault is not None:
            self.returncode = None
            raise self.fault
        return self.said

    def wait(self, timeout: float) -> None:
        self.waited.append(timeout)
        if not self.gone_in_time:
            raise subprocess.TimeoutExpired("tool", timeout)
        self.returncode = -signal.SIGKILL


Lay = Callable[[Paper], list[tuple[int, int]]]


@pytest.fixture
def lay(monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Have that process started; gives what is sent to groups of processes."""

    def start(process: Paper) -> list[tuple[int, int]]:
        killed: list[tuple[int, int]] = []
        monkeypatch.setattr(subprocess, "Popen", process)
        monkeypatch.setattr(os, "killpg", lambda *sent: killed.append(sent))
        return killed

    return start


def test_a_tool_speaks_english_has_no_input_and_a_session_of_its_own(
    monkeypatch: pytest.MonkeyPatch, lay: Lay
) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("KEPT", "yes")
    process = Paper(stdout="out", stderr="err")
    lay(process)
    assert run(["lsblk", "--json"]) == Completed(("lsblk", "--json"), 0, "out", "err")
    assert process.argv == ["lsblk", "--json"] and not process.options.get("shell")
    environment = process.options["env"]
    assert environment["LC_ALL"] == "C" and "LANGUAGE" not in environment
    assert environment["KEPT"] == "yes"
    assert process.options["stdin"] == subprocess.DEVNULL
    assert process.options["start_new_session"] is True
    assert process.given == (None, 60.0)


def test_output_that_is_no_utf8_is_kept(lay: Lay) -> None:
    process = Paper()
    lay(process)
    run(["tool"])
    assert (process.options["encoding"], process.options["errors"]) == ("utf-8", "surrogateescape")


def test_what_a_tool_is_to_read_is_given_to_it(lay: Lay) -> None:
    process = Paper()
    lay(process)
    run(["sfdisk"], stdin="label: dos\n", timeout=5)
    assert process.options["stdin"] == subprocess.PIPE
    assert process.given == ("label: dos\n", 5)


@pytest.mark.parametrize("code", [1, 2])
def test_a_code_that_is_expected_is_an_answer(lay: Lay, code: int) -> None:
    lay(Paper(code, "out"))
    assert run(["blkid"], ok=(0, 1, 2)).code == code
    with pytest.raises(ToolError):
        run(["blkid"])


def test_success_is_a_failure_where_it_is_not_expected(lay: Lay) -> None:
    lay(Paper(0))
    with pytest.raises(ToolError, match="failed with code 0"):
        run(["tool"], ok=(2,))


def test_a_failure_names_the_command_so_that_it_can_be_repeated(lay: Lay) -> None:
    lay(Paper(3, stderr="one\n\n two \nthree\nfour\nfive\n"))
    with pytest.raises(ToolError) as caught:
        run(["mount", "/dev/a b", "it's"])
    assert str(caught.value) == (
        "The command `mount '/dev/a b' 'it'\"'\"'s'` failed with code 3: two; three; four; five"
    )
    assert caught.value.code == 3 and caught.value.stderr.startswith("one\n")


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "was ended by signal 9: it said nothing"), (1, "failed with code 1")]
)
def test_an_end_without_words_is_told(lay: Lay, code: int, words: str) -> None:
    lay(Paper(code))
    with pytest.raises(ToolError, match=words):
        run(["tool"])


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "Popen", missing)
    with pytest.raises(ToolError, match="`no-tool` could not be started: No such file") as caught:
        run(["no-tool"])
    assert caught.value.code is None


@pytest.mark.parametrize("gone_in_time", [True, False])
def test_a_tool_that_hangs_is_ended_with_its_children_and_not_waited_for_for_ever(
    lay: Lay, gone_in_time: bool
) -> None:
    """On a broken disk it may be in a sleep that nothing ends."""
    process = Paper()
    process.fault = subprocess.TimeoutExpired("tool", 7)
    process.gone_in_time = gone_in_time
    killed = lay(process)
    with pytest.raises(ToolError, match="`tool` did not end within 7 seconds and was ended"):
        run(["tool"], timeout=7)
    assert killed == [(Paper.pid, signal.SIGKILL)] and process.waited == [command.GRACE]


def test_an_interrupted_run_leaves_no_tool_behind(lay: Lay) -> None:
    process = Paper()
    process.fault = KeyboardInterrupt()
    killed = lay(process)
    with pytest.raises(KeyboardInterrupt):
        run(["tool"])
    assert killed == [(Paper.pid, signal.SIGKILL)]
