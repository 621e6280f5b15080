"""netplan's YAML: read as netplan reads it, changed word by word."""

import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.destinations import summarise
from payload.formats.network.interface import ANYWHERE, Assignment, Interface
from payload.formats.network.netplan import read_netplan, rewrite_netplan
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "52:54:00:9a:00:1c", "52:54:00:9a:00:2d"
ASSIGNMENT = Assignment({"lan0": HERE}, [Card("ens1", HERE)], macs={OLD: OTHER})


def read(text: str) -> list[Interface]:
    return read_netplan(f"network:\n  version: 2\n{text}".encode())


def ethernet(text: str) -> Interface:
    (found,) = read(f"  ethernets:\n    first: {text}\n")
    return found


def rewritten(text: str) -> str:
    after = rewrite_netplan(text.encode(), "", ASSIGNMENT)
    assert rewrite_netplan(after, "", ASSIGNMENT) == after
    return after.decode()


# --- reading


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{dhcp4: true}", "first"),  # without a match the key is the name
        ("{set-name: lan0}", "lan0"),
        ("{match: {name: ens4}}", "ens4"),
        ("{match: {name: ens4}, set-name: lan0}", "lan0"),
        ('{match: {macaddress: "00:1a:64:6c:11:0e"}}', ""),
        ("{match: {name: en*}}", ""),  # a pattern names no card
        ("{match: {driver: tg3}}", ""),
        ('{set-name: "../x"}', "first"),
        ("{}", "first"),
    ],
)
def test_what_a_card_is_called(text: str, name: str) -> None:
    assert (ethernet(text).name, ethernet(text).key) == (name, "first")


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ('{match: {macaddress: "00:1A:64:6C:11:0E"}}', OLD),
        ("{match: {macaddress: 00:1a:64:6c:11:0e}}", OLD),
        ("{macaddress: 00:1a:64:6c:11:0e}", ""),  # sets an address, matches none
        ("{match: {macaddress: 00-1a-64-6c-11-0e}}", ""),
        ("{match: {macaddress: [00:1a:64:6c:11:0e]}}", ""),
        ("{match: 00:1a:64:6c:11:0e}", ""),
    ],
)
def test_the_card_by_its_mac(text: str, mac: str) -> None:
    assert ethernet(text).mac == mac


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("{addresses: [192.0.2.7/24, '2001:db8::7/64']}", ("192.0.2.7/24", "2001:db8::7/64")),
        ("{addresses: [192.0.2.7/24: {lifetime: 0}]}", ("192.0.2.7/24",)),
        ("{addresses: 192.0.2.7/24}", ("192.0.2.7/24",)),
        ("{addresses: []}", ()),
        ("{addresses: [[192.0.2.7/24]]}", ()),
        ("{}", ()),
    ],
)
def test_addresses_alone_or_with_options(text: str, addresses: tuple[str, ...]) -> None:
    assert ethernet(text).addresses == addresses


@pytest.mark.parametrize(
    ("text", "dynamic"),
    [
        ("{dhcp4: true}", True),
        ("{dhcp6: yes}", True),
        ("{dhcp4: On}", True),
        ("{dhcp4: false}", False),
        ("{dhcp4: no, dhcp6: off}", False),
        ("{}", False),
    ],
)
def test_an_address_by_dhcp(text: str, *, dynamic: bool) -> None:
    assert ethernet(text).dynamic is dynamic


@pytest.mark.parametrize(
    ("text", "gateways"),
    [
        ("{gateway4: 192.0.2.1, gateway6: '2001:db8::1'}", ("192.0.2.1", "2001:db8::1")),
        ("{routes: [{to: default, via: 192.0.2.1}]}", ("192.0.2.1",)),
        ("{routes: [{to: 0.0.0.0/0, via: 192.0.2.1}]}", ("192.0.2.1",)),
        ("{routes: [{to: '::/0', via: 'fe80::1'}]}", ("fe80::1",)),
        ("{routes: [{to: default}]}", (ANYWHERE,)),
        ("{routes: [{to: 10.0.0.0/8, via: 192.0.2.9}]}", ()),
        ("{routes: default}", ()),
        ("{routes: [default]}", ()),
    ],
)
def test_the_way_to_everywhere(text: str, gateways: tuple[str, ...]) -> None:
    assert ethernet(text).gateways == gateways


@pytest.mark.parametrize(
    ("text", "lower", "vlan"),
    [
        ("bonds: {up0: {interfaces: [a, b]}}", ("a", "b"), 0),
        ("bridges: {up0: {interfaces: [a]}}", ("a",), 0),
        ("bridges: {up0: {}}", (), 0),
        ("vlans: {up0: {id: 9, link: a}}", ("a",), 9),
        ("vlans: {up0: {id: nine, link: a}}", ("a",), 0),
        ("vlans: {up0: {id: 99999, link: a}}", ("a",), 0),
    ],
)
def test_what_lies_above_other_interfaces(text: str, lower: tuple[str, ...], vlan: int) -> None:
    (found,) = read(f"  {text}\n")
    assert (found.name, found.lower, found.vlan) == ("up0", lower, vlan)


def test_netplan_in_full() -> None:
    text = """
network:
  ethernets:
    first: {match: {macaddress: "00:1A:64:6C:11:0E"}, set-name: lan0, dhcp6: yes}
    second: {match: {name: ens4}}
  bonds:
    bond0: {interfaces: [first, second], addresses: [192.0.2.10/24], gateway4: 192.0.2.1}
  vlans:
    mgmt: {id: 9, link: bond0, addresses: [10.0.0.1/8]}
"""
    names = summarise(read_netplan(text.encode()))
    assert names.macs == {"lan0": OLD}
    assert names.addressed == ("ens4", "lan0")
    assert names.vlans == {"ens4": (0, 9), "lan0": (0, 9)}


# --- another card


@pytest.mark.parametrize("mac", [OLD, OLD.upper()])
@pytest.mark.parametrize("sign", ["", "'", '"'])
@pytest.mark.parametrize(
    ("text", "new"),
    [
        # A key beside a match is no name.
        ("    lan0: {{match: {{macaddress: {}}}}}  # lan\n", OTHER),
        ("    first: {{match: {{macaddress: {}}}, set-name: lan0}}\n", HERE),
        ("    first:\n      match:\n        macaddress:   {}\r\n", OTHER),
    ],
)
def test_the_mac_changes_and_every_other_letter_stays(
    text: str, new: str, mac: str, sign: str
) -> None:
    form = "# \xe4 by hand\nnetwork:\n  ethernets:\n" + text
    written = new.upper() if mac == OLD.upper() else new
    assert rewritten(form.format(f"{sign}{mac}{sign}")) == form.format(f"{sign}{written}{sign}")


def test_each_card_gets_its_own() -> None:
    text = (
        "network:\n  ethernets:\n"
        "    a: {{match: {{macaddress: {}}}}}\n"
        "    b: {{match: {{macaddress: {}}}, set-name: lan0, macaddress: {}}}\n"
    )
    lost = "00:1a:64:6c:11:0f"
    assert rewritten(text.format(OLD, lost, OLD)) == text.format(OTHER, HERE, OLD)


@pytest.mark.parametrize(
    "text",
    [
        "network: {{ethernets: {{a: {{macaddress: {}}}}}}}\n",
        "network: {{bonds: {{a: {{match: {{macaddress: {}}}}}}}}}\n",
        "other: {{ethernets: {{a: {{match: {{macaddress: {}}}}}}}}}\n",
        "network: {{ethernets: {{a: {{match: {{macaddress: [{}]}}}}}}}}\n",
        "# network: {{ethernets: {{a: {{match: {{macaddress: {}}}}}}}}}\n",
        "network: {{ethernets: {{a: {{match: {{macaddress: {}}}}}}}}}\n---\nx: y\n",
        "network: {{ethernets: {{a: {{match: {{macaddress: {}}}}}}}\n",
    ],
)
def test_what_matches_no_card_stays_as_it_is(text: str) -> None:
    assert rewritten(text.format(OLD)) == text.format(OLD)


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    content = f"network: {{ethernets: {{a: {{match: {{macaddress: {OLD}}}}}}}}} # ".encode()
    assert rewrite_netplan(content, "", ASSIGNMENT) == content.replace(OLD.encode(), OTHER.encode())
    assert rewrite_netplan(content + b"\xe4", "", ASSIGNMENT) == content + b"\xe4"


_CARDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "lan0", "é"]),
        st.sampled_from([OLD, OLD.upper(), HERE, "00:00:5e:00:53:01"]),
        st.sampled_from(["", "lan0"]),
        st.sampled_from(["", "00:00:5e:00:53:02"]),
    ),
    unique_by=lambda card: card[0],
    max_size=3,
)


@given(_CARDS, st.sampled_from(["block", "flow"]), st.sampled_from([None, "'", '"']))
def test_as_netplan_reads_it_nothing_but_matches_changed(
    cards: list[tuple[str, str, str, str]], style: str, quotes: str | None
) -> None:
    def document(macs: dict[str, str]) -> dict[str, object]:
        return {
            "network": {
                "ethernets": {
                    key: {"match": {"macaddress": macs[key]}, "set-name": name, "macaddress": own}
                    for key, _, name, own in cards
                }
            }
        }

    expected = {}
    for key, mac, name, _ in cards:
        new = ASSIGNMENT.mac_for(name, mac.lower()) or mac
        expected[key] = new.upper() if mac != mac.lower() else new
    before = yaml.safe_dump(
        document({key: mac for key, mac, _, _ in cards}),
        default_flow_style=style == "flow",
        default_style=quotes,
        allow_unicode=True,
        sort_keys=False,
    )
    assert yaml.safe_load(rewritten(before)) == document(expected)


# --- hostile


def test_netplan_too_deep_to_read_is_left_alone() -> None:
    depth = sys.getrecursionlimit() // 2  # PyYAML composes a level by two calls, one in the other
    deep = b"network: " + b"[" * depth + b"]" * depth
    assert read_netplan(deep) == []
    assert rewrite_netplan(deep, "", ASSIGNMENT) == deep


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "&a {? *a : x}",
        "[&a [x, x], &b [*a, *a], &c [*b, *b], &d [*c, *c, *c, *c]]",
        "{? [a, b] : x}",
    ],
)
def test_netplan_whose_aliases_go_round_says_nothing(text: str) -> None:
    for key in ("ethernets", "vlans"):
        nested = f"network:\n  {key}:\n    eth0:\n      addresses: {text}\n".encode()
        assert [one.addresses for one in read_netplan(nested)] == [()]
        assert rewrite_netplan(nested, "", ASSIGNMENT) == nested
        read_netplan(f"network:\n  {key}: {text}\n".encode())


@pytest.mark.parametrize(
    "text",
    ["", "network:", "network: x", "network: [x]", "- network: {}", "[", "\0", "!!python/x y"],
)
def test_what_is_no_mapping_of_a_network_says_nothing(text: str) -> None:
    assert read_netplan(text.encode()) == []
    assert rewritten(text) == text
