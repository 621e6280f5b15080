"""The one subprocess call, with real small processes."""

from pathlib import Path

import pytest

from payload.model.errors import ToolError
from payload.system.command import run
from tests.support.waiting import PATIENCE, wait_until


def test_output_comes_back_and_odd_bytes_are_kept() -> None:
    done = run(["printf", "a\\377b"])
    assert (done.argv, done.code) == (("printf", "a\\377b"), 0)
    assert done.stdout.encode("utf-8", "surrogateescape") == b"a\xffb"


def test_input_is_given_or_closed() -> None:
    assert run(["cat"], stdin="label: dos\n").stdout == "label: dos\n"
    assert run(["cat"], timeout=PATIENCE).stdout == ""


def test_the_tool_speaks_plain_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    words = run(["env"]).stdout.splitlines()
    assert "LC_ALL=C" in words
    assert not [word for word in words if word.startswith("LANGUAGE=")]


def test_a_failure_names_the_command_the_code_and_the_last_words() -> None:
    with pytest.raises(ToolError) as caught:
        run(["sh", "-c", "echo one; for i in 1 2 3 4 5 6; do echo line $i >&2; done; exit 4"])
    text = str(caught.value)
    assert "`sh -c 'echo one;" in text
    assert "failed with code 4: line 3; line 4; line 5; line 6" in text


def test_a_code_that_is_an_answer_is_no_failure() -> None:
    assert run(["sh", "-c", "exit 2"], ok=(0, 2)).code == 2


def test_a_missing_tool_is_an_error() -> None:
    with pytest.raises(ToolError, match="`no-such-tool-here x` could not be started: No such file"):
        run(["no-such-tool-here", "x"])


def test_a_tool_ended_by_a_signal_says_so() -> None:
    with pytest.raises(ToolError, match="was ended by signal 9"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """How soon it has a child depends on how busy the machine is."""
    pid_file = tmp_path / "pid"
    pid_file.touch()
    for seconds in (0.5, 5.0, 50.0):
        with pytest.raises(ToolError, match=rf"did not end within {seconds:g} seconds"):
            run(["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"], timeout=seconds)
        if pid_file.read_text():
            break
    child = int(pid_file.read_text())
    wait_until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
