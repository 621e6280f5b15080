"""Persistent net rules, byte by byte: the samples, and what must hold for any file."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.adapt import run_adapt
from payload.finish.network.cards import read_cards
from payload.formats.network.udev_rules import (
    is_rules_file,
    read_rules,
    rewrite_rules,
    silence_rules,
)
from payload.model.machine import Card

SAMPLES = Path(__file__).parents[3] / "fixtures/udev-net"
CASES = sorted(SAMPLES.iterdir())
HERE = "00:50:56:9a:00:11"
CARD = Card("ens1", HERE, "e1000", "0x8086:0x100f", "0000:02:00.0")
ETCH = "/etc/udev/rules.d/z25_persistent-net.rules"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sample(case: Path) -> None:
    told = read_cards((case / "target.json").read_bytes())
    assert told.assign is not None
    before, expected = (case / "in.rules").read_bytes(), (case / "expected.rules").read_bytes()
    assert rewrite_rules(before, told.path, told.cards, told.assign) == expected
    assert rewrite_rules(expected, told.path, told.cards, told.assign) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sample_in_a_mounted_system(case: Path, tmp_path: Path) -> None:
    document = (case / "target.json").read_bytes()
    place = tmp_path / json.loads(document)["path"].lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_bytes((case / "in.rules").read_bytes())
    run_adapt(tmp_path, document)
    assert place.read_bytes() == (case / "expected.rules").read_bytes()
    assert run_adapt(tmp_path, document).changes == ()


def test_each_line_end_is_kept_where_they_are_mixed() -> None:
    before = b'# a\r\n# b\nSUBSYSTEM=="net", NAME="eth0"\n'
    after = rewrite_rules(before, ETCH, [], {})
    assert after == b'# a\r\n# b\n#SUBSYSTEM=="net", NAME="eth0"\n'


def test_a_value_wrapped_in_the_middle_is_still_read() -> None:
    before = b'SUBSYSTEM=="net", ATTRS{address}=="00:50:56:\\\n9a:00:11", NAME="et\\\nh1"\n'
    assert [(rule.mac, rule.name) for rule in read_rules(before)] == [(HERE, "eth1")]
    after = rewrite_rules(before, ETCH, [CARD], {"eth0": HERE})
    assert [(rule.mac, rule.name) for rule in read_rules(after)] == [(HERE, "eth0")]
    assert b'ATTRS{address}=="00:50:56:\\\n9a:00:11"' in after


def test_a_card_of_this_machine_without_a_name_keeps_its_own_if_it_is_free() -> None:
    rule = b'SUBSYSTEM=="net", ATTRS{address}=="00:50:56:9a:00:11", NAME="eth1"\n'
    other = {"eth0": "00:00:5e:00:53:01"}
    assert rewrite_rules(rule, ETCH, [CARD], other).startswith(rule)
    taken = {"eth1": "00:00:5e:00:53:01"}
    assert rewrite_rules(rule, ETCH, [CARD], taken).startswith(b"#" + rule)


def test_a_rule_of_a_wireless_card_named_like_a_wired_one_is_left_alone() -> None:
    rule = b'SUBSYSTEM=="net", ATTR{address}=="00:00:5e:00:53:09", KERNEL=="wlan*", NAME="eth1"\n'
    assert silence_rules(rule) == rule


def test_rules_files_are_told_from_their_generators() -> None:
    assert is_rules_file("z25_persistent-net.rules")
    assert is_rules_file("70-persistent-net.rules")
    assert is_rules_file("30-net_persistent_names.rules")
    assert not is_rules_file("z45_persistent-net-generator.rules")
    assert not is_rules_file("70-persistent-cd.rules")
    assert not is_rules_file("70-persistent-net.rules.bak")


_WORDS = st.sampled_from(
    [
        'SUBSYSTEM=="net"',
        'SUBSYSTEM=="block"',
        'ATTRS{address}=="00:50:56:9A:00:11"',
        'ATTR{address}=="00:00:5e:00:53:01"',
        "ATTRS(address)==",
        'NAME="eth0"',
        'NAME="eth1"',
        'NAME="%k"',
        'KERNEL=="wlan*"',
        'IMPORT="/sbin/rename_netiface %k eth2"',
        ", ",
        "\\\n",
        "\\\r\n",
        "\\",
        "\n",
        "\r\n",
        "\r",
        "#",
        " ",
        "\t",
        '"',
        "\x85",
        "\x0c",
        "\xe4",
        "\0",
    ]
)
_FILES = st.one_of(
    st.lists(_WORDS, max_size=40).map("".join).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=200),
)
_NAMES = st.sampled_from([{}, {"eth0": HERE}, {"eth3": HERE}])


@given(_FILES, _NAMES)
def test_twice_is_once(content: bytes, names: dict[str, str]) -> None:
    once = rewrite_rules(content, ETCH, [CARD], names)
    assert rewrite_rules(once, ETCH, [CARD], names) == once


@given(_FILES, _NAMES)
def test_afterwards_each_name_means_its_card_and_no_other(
    content: bytes, names: dict[str, str]
) -> None:
    rules = read_rules(rewrite_rules(content, ETCH, [CARD], names))
    assert [(rule.name, rule.mac) for rule in rules if rule.name in names] == list(names.items())
    assert {rule.mac for rule in rules} <= {HERE}


@given(_FILES)
def test_silenced_is_only_commented(content: bytes) -> None:
    after = silence_rules(content)
    assert read_rules(after) == ()
    old, new = content.split(b"\n"), after.split(b"\n")
    assert len(old) == len(new)
    for before, line in zip(old, new, strict=True):
        assert line in (before, b"#" + before)
        if before.startswith(b"#"):
            assert line == before


@given(_FILES.map(lambda content: re.sub(rb"(?m)^", b"#", content)))
def test_comments_are_never_touched(content: bytes) -> None:
    assert silence_rules(content) == content
    assert rewrite_rules(content, ETCH, [CARD], {"eth0": HERE}).startswith(content)
