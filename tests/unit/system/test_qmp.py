"""QEMU's control socket, with words for a socket."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payload.model.errors import ToolError
from payload.system import qmp
from payload.system.qmp import LONGEST, Qmp

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
DONE: dict[str, Any] = {"return": {}}
PATH = Path("/run/qmp")


class Wire:
    """A socket whose far end says these lines, whatever it is asked."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.sent: list[dict[str, Any]] = []
        self.broken = False
        self.closed = False
        self.timeout = 0.0

    def connect(self, path: str) -> None:
        assert path == str(PATH)

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self.said)

    def sendall(self, data: bytes) -> None:
        if self.broken:
            raise BrokenPipeError(32, "Broken pipe")
        assert data.endswith(b"\n") and data.count(b"\n") == 1
        self.sent.append(json.loads(data))

    def close(self) -> None:
        self.closed = True


def line_of(said: Any) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n"


Connect = Callable[..., Wire]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Lay a wire on which these messages, or bytes, come."""

    def lay(*said: Any) -> Wire:
        lines = [
            one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in said
        ]
        wire = Wire(b"".join(lines))
        lay_socket(monkeypatch, lambda _: wire)
        return wire

    return lay


def lay_socket(monkeypatch: pytest.MonkeyPatch, make: Callable[[int], object]) -> None:
    monkeypatch.setattr(qmp, "socket", SimpleNamespace(socket=make, AF_UNIX=1))


def alive() -> bool:
    return True


def test_a_command_and_its_answer(connect: Connect) -> None:
    answer = {"running": True}
    wire = connect(GREETING, DONE, {"return": answer})
    with Qmp(PATH, alive) as machine:
        assert machine.execute("query-status", some_word=3) == answer
    assert wire.sent == [
        {"execute": "qmp_capabilities", "arguments": {}},
        {"execute": "query-status", "arguments": {"some-word": 3}},
    ]
    assert wire.closed and wire.timeout == qmp.ANSWER


def test_the_monitor_for_people_answers_in_words(connect: Connect) -> None:
    wire = connect(GREETING, DONE, {"return": "eth0: up\r\n"})
    assert Qmp(PATH, alive).monitor("info network") == "eth0: up\r\n"
    assert wire.sent[1]["arguments"] == {"command-line": "info network"}


def test_events_are_no_answers_and_a_shutdown_tells_its_reason(connect: Connect) -> None:
    stopped = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}}
    connect(GREETING, {"event": "RESUME"}, DONE, {"event": "STOP"}, stopped, DONE)
    machine = Qmp(PATH, alive)
    assert machine.end == ""
    assert machine.execute("query-status") == {} and machine.end == "guest-reset"


def test_a_refusal_is_an_error_with_qemu_s_words(connect: Connect) -> None:
    connect(GREETING, DONE, {"error": {"class": "GenericError", "desc": "no such device"}})
    with pytest.raises(ToolError, match=r"QEMU refuses 'device_del': no such device\."):
        Qmp(PATH, alive).execute("device_del")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "closed its control socket"),
        (b"[1, 2]\n", "closed its control socket"),
        (b"no json\n", "does not answer"),
        (b"\xff\xfe\n", "does not answer"),
        (b'{"return": ', "does not answer"),
        (b" " * (LONGEST + 1), "longer than any"),
    ],
)
def test_what_is_no_answer_is_an_error(connect: Connect, said: bytes, words: str) -> None:
    connect(GREETING, DONE, said)
    machine = Qmp(PATH, alive)
    with pytest.raises(ToolError, match=words):
        machine.execute("query-status")


def test_a_machine_that_is_gone_takes_no_command(connect: Connect) -> None:
    wire = connect(GREETING, DONE)
    machine = Qmp(PATH, alive)
    wire.broken = True
    with pytest.raises(ToolError, match=r"does not take 'quit': .*Broken pipe"):
        machine.execute("quit")


def test_a_machine_that_ended_before_it_opened_its_socket_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Wire] = []

    class Missing(Wire):
        def connect(self, path: str) -> None:
            raise FileNotFoundError(2, "No such file or directory")

    def make(_: int) -> Wire:
        tried.append(Missing(b""))
        return tried[-1]

    lay_socket(monkeypatch, make)
    lives: Iterator[bool] = iter([True, True, False])
    with pytest.raises(ToolError, match="opened no control socket: No such file"):
        Qmp(PATH, lambda: next(lives))
    assert [wire.closed for wire in tried] == [True] * 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=30).map(lambda line: line + b"\n")
        | st.sampled_from([b'{"return": 1}\n', b'{"event": "STOP"}\n', b"{}\n", b"null\n", b"7\n"]),
        max_size=6,
    )
)
def test_any_lines_are_an_answer_or_a_tool_error(connect: Connect, lines: list[bytes]) -> None:
    connect(GREETING, DONE, *lines)
    machine = Qmp(PATH, alive)
    try:
        machine.execute("query-status")
    except ToolError as error:
        assert "QEMU" in str(error)
