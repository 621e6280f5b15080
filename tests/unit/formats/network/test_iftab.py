"""iftab and mactab: a line for each card, before there was udev."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.network.iftab import read_tab, rewrite_tab
from payload.formats.network.interface import Assignment
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11", "52:54:00:9a:00:22"
IFTAB, MACTAB = "/etc/iftab", "/etc/mactab"
ONE = Assignment({"eth0": HERE}, [Card("ens1", HERE)], macs={OLD: HERE})


def read(text: str) -> list[tuple[str, str]]:
    return [(one.name, one.mac) for one in read_tab(text.encode("latin-1"))]


def rewritten(text: str, path: str = IFTAB, assignment: Assignment = ONE) -> str:
    after = rewrite_tab(text.encode("latin-1"), path, assignment)
    assert rewrite_tab(after, path, assignment) == after
    return after.decode("latin-1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"eth0 mac {OLD}\n", [("eth0", OLD)]),
        (f"eth0 {OLD.upper()}\r\n", [("eth0", OLD)]),
        (f"  eth0\tmac {OLD} driver tg3 # lan {HERE}\n", [("eth0", OLD)]),
        ("eth1 businfo 0000:02:00.0\n", [("eth1", "")]),
        (f"eth0 {OLD}\neth1 {HERE}", [("eth0", OLD), ("eth1", HERE)]),
        ("wlan* driver ath5k\n", []),  # a pattern names no card
        (f"# eth0 mac {OLD}\n\n   \n", []),
        (f"{OLD}\n", [(OLD, "")]),
        ("", []),
    ],
)
def test_a_line_names_a_card_by_its_mac(text: str, told: list[tuple[str, str]]) -> None:
    assert read(text) == told


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"eth0 mac {OLD}\n", f"eth0 mac {HERE}\n"),
        (f"eth0 mac {OLD.upper()} # lan\r\n", f"eth0 mac {HERE.upper()} # lan\r\n"),
        (f"eth0 mac {OLD}  driver tg3 irq 16\n", f"eth0 mac {HERE}\n"),
        (f"eth0 driver tg3 mac {OLD}\n", f"eth0 mac {HERE}\n"),
        ("eth0 businfo 0000:02:00.0 # slot\n", f"eth0 mac {HERE} # slot\n"),
        (f"# {OLD}\neth0 mac {OLD}", f"# {OLD}\neth0 mac {HERE}"),
    ],
)
def test_a_named_line_gets_the_card_here_and_no_other_selector(before: str, after: str) -> None:
    """ifrename takes a line only where every selector fits (iftab(5))."""
    assert rewritten(before) == after


@pytest.mark.parametrize(
    ("path", "line"), [(IFTAB, f"eth1 mac {OTHER}"), (MACTAB, f"eth1 {OTHER}")]
)
@pytest.mark.parametrize(
    ("before", "end"),
    [("eth0 mac {}\n", "\n"), ("eth0 mac {}\r\n", "\r\n"), ("eth0 mac {}", "\n")],
)
def test_a_name_without_a_line_gets_one_in_the_words_of_the_file(
    path: str, line: str, before: str, end: str
) -> None:
    two = Assignment({"eth1": OTHER, "eth0": HERE})
    told = before.format(HERE).removesuffix(end)
    assert rewritten(before.format(OLD), path, two) == f"{told}{end}{line}{end}"


def test_a_name_without_a_card_keeps_its_line_and_gets_none() -> None:
    text = f"eth0 mac {OLD}\n"
    assert rewritten(text, assignment=Assignment({"eth0": "", "eth1": ""})) == text


def test_a_card_known_by_its_mac_alone_gets_no_line() -> None:
    assert rewritten(f"eth0 mac {OLD}\n", assignment=Assignment({OLD: HERE})) == (
        f"eth0 mac {OLD}\n"
    )


@pytest.mark.parametrize("text", ["", "# eth0\n", "\n\n", "wlan* driver ath5k\n"])
def test_a_file_that_names_no_card_is_no_place_for_names(text: str) -> None:
    assert rewritten(text) == text


_LINES = st.builds(
    "{}{} {} {}{}{}".format,
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["eth0", "eth1", "wlan*"]),
    st.sampled_from(["mac", "", "driver tg3 mac"]),
    st.sampled_from([OLD, HERE, OTHER, OLD.upper()]),
    st.sampled_from(["", " irq 9", " #", " # mac " + OLD]),
    st.sampled_from(["\n", "\r\n"]),
)


@given(st.lists(_LINES, max_size=5).map("".join))
def test_afterwards_a_name_means_its_card_in_every_line(text: str) -> None:
    before, after = read(text), read(rewritten(text))
    assert {mac for name, mac in after if name == "eth0"} == ({HERE} if before else set())
    assert [name for name, _ in after][: len(before)] == [name for name, _ in before]
    assert OLD not in {mac for _, mac in after}


@given(st.binary(max_size=120))
def test_whatever_a_table_holds_a_second_run_changes_nothing(content: bytes) -> None:
    rewritten(content.decode("latin-1"))
