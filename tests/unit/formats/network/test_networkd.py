"""systemd's .link, .network and .netdev files: what they match, and how they match another card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.destinations import summarise
from payload.formats.network.interface import Assignment, Interface
from payload.formats.network.networkd import (
    TYPE_ETHER,
    read_link,
    read_netdev,
    read_network,
    render_link,
    rewrite_match,
)
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11", "52:54:00:9a:00:22"
SLOT = "0000:03:00.0"
CARD = Card("ens1", HERE)
ASSIGNMENT = Assignment({"san0": HERE}, [CARD], macs={OLD: OTHER}, slots={SLOT: OTHER})
LINK, NETWORK = "/etc/systemd/network/10-san0.link", "/etc/systemd/network/lan.network"


def rewritten(text: str, path: str = LINK) -> str:
    after = rewrite_match(text.encode("latin-1"), path, ASSIGNMENT)
    assert rewrite_match(after, path, ASSIGNMENT) == after
    return after.decode("latin-1")


# --- .link


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"[Match]\nMACAddress={OLD}\n[Link]\nName=san0\n", [("san0", OLD, "")]),
        (f"[Match]\nPermanentMACAddress={OLD.upper()}\n[Link]\nName=san0", [("san0", OLD, "")]),
        (f" [Link]\r\n Name = san0\r\n[Match]\r\nMACAddress={OLD}\r\n", [("san0", OLD, "")]),
        (f"[Match]\nPath=pci-{SLOT}\n[Link]\nName=san0\n", [("san0", "", SLOT)]),
        (f"[Match]\nPath=virtio-pci-{SLOT}\n[Link]\nName=san0\n", [("san0", "", SLOT)]),
        ("[Match]\nPath=pci-0000:*\n[Link]\nName=san0\n", [("san0", "", "")]),
        # Of two cards nobody knows which has the name.
        (f"[Match]\nMACAddress={OLD} {HERE}\n[Link]\nName=san0\n", [("san0", "", "")]),
        ("[Link]\nName=one\nName=two\n", [("two", "", "")]),
        ("[Link]\nName=san0\nName=\n", []),
        ("[Link]\nName=../x\n", []),
        ("[Link]\nNamePolicy=kernel\n", []),
        ("[Match]\nName=san0\n", []),
        ("#[Link]\nName=san0\n", []),
        ("[Link]\n;Name=san0\n#Name=san1\n", []),
        ("", []),
    ],
)
def test_the_name_that_a_link_file_gives(text: str, told: list[tuple[str, str, str]]) -> None:
    assert [(one.name, one.mac, one.slot) for one in read_link(text.encode())] == told


def test_an_empty_assignment_takes_back_what_stands_before_it() -> None:
    """systemd.syntax(7), of settings that may be given several times."""
    text = f"[Match]\nMACAddress={HERE}\nMACAddress=\nMACAddress={OLD}\n[Link]\nName=san0\n"
    assert [one.mac for one in read_link(text.encode())] == [OLD]


def test_a_link_file_with_hyphens_tells_which_card_has_the_name() -> None:
    text = b"[Match]\nMACAddress=00-1A-64-6C-11-0E\n[Link]\nName=san0\n"
    assert [(one.name, one.mac) for one in read_link(text)] == [("san0", OLD)]
    assert [one.mac for one in read_network(text)] == [OLD]
    after = rewrite_match(text, "/x.link", Assignment({"san0": HERE}, [CARD]))
    assert b"MACAddress=52-54-00-9A-00-11\n" in after


# --- .network


@pytest.mark.parametrize(
    ("match", "cards"),
    [
        ("Name=eth0", [("eth0", "", "")]),
        ("Name=eth0 eth1", [("eth0", "", ""), ("eth1", "", "")]),
        ("Name=eth*", []),  # a pattern names no card
        (f"MACAddress={OLD} {HERE.upper()}", [("", OLD, ""), ("", HERE, "")]),
        (f"Name=eth0\nMACAddress={OLD}", [("eth0", "", ""), ("", OLD, "")]),
        (f"Path=pci-{SLOT}", [("", "", SLOT)]),
        (f"Path=pci-{SLOT}\nName=eth0", [("eth0", "", "")]),
        ("Type=ether", []),
    ],
)
def test_which_cards_a_network_file_is_for(match: str, cards: list[tuple[str, str, str]]) -> None:
    text = f"[Match]\n{match}\n[Network]\nDHCP=yes\n"
    found = read_network(text.encode())
    assert [(one.name, one.mac, one.slot) for one in found] == cards
    assert all(one.dynamic for one in found)


@pytest.mark.parametrize(
    ("text", "addresses", "gateways", "dynamic"),
    [
        (
            "[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\n",
            ("192.0.2.7/24",),
            ("192.0.2.1",),
            False,
        ),
        ("[Address]\nAddress=192.0.2.7/24\n", ("192.0.2.7/24",), (), False),
        ("[Network]\nDHCP=ipv4\n", (), (), True),
        ("[Network]\nDHCP=no\n", (), (), False),
        ("[Network]\nDHCP=yes\nDHCP=none\n", (), (), False),
        ("[Route]\nGateway=192.0.2.1\n", (), ("192.0.2.1",), False),
        ("[Route]\nDestination=0.0.0.0/0\nGateway=192.0.2.1\n", (), ("192.0.2.1",), False),
        ("[Route]\nGateway=fe80::1\nDestination=::/0\n", (), ("fe80::1",), False),
        ("[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.9\n", (), (), False),
        ("[Route]\nDestination=0.0.0.0/0\n", (), (), False),
        ("[Other]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDHCP=yes\n", (), (), False),
    ],
)
def test_what_a_network_file_gives_its_card(
    text: str, addresses: tuple[str, ...], gateways: tuple[str, ...], *, dynamic: bool
) -> None:
    (found,) = read_network(f"[Match]\nName=eth0\n{text}".encode())
    assert (found.addresses, found.gateways, found.dynamic) == (addresses, gateways, dynamic)


def test_each_route_section_is_one_route() -> None:
    text = b"[Match]\nName=eth0\n[Route]\nDestination=10.0.0.0/8\n[Route]\nGateway=192.0.2.1\n"
    assert read_network(text)[0].gateways == ("192.0.2.1",)


@pytest.mark.parametrize("key", ["Bond", "Bridge", "VLAN", "MACVLAN", "IPVLAN"])
@pytest.mark.parametrize(("match", "card"), [("Name=eth0", "eth0"), (f"MACAddress={OLD}", OLD)])
def test_what_lies_above_the_card(key: str, match: str, card: str) -> None:
    found = read_network(f"[Match]\n{match}\n[Network]\n{key}=up0\n".encode())
    assert [(one.name, one.lower) for one in found[1:]] == [("up0", (card,))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[NetDev]\nName=mgmt\nKind=vlan\n[VLAN]\nId=7\n", [("mgmt", 7)]),
        ("[NetDev]\nName=mgmt\n[VLAN]\nId=7\nId=8\n", [("mgmt", 8)]),
        ("[NetDev]\nName=mgmt\n[VLAN]\nId=seven\n", []),
        ("[NetDev]\nName=mgmt\n[VLAN]\nId=99999\n", []),
        ("[NetDev]\nName=br0\nKind=bridge\n", []),
        ("[VLAN]\nId=7\n", []),
    ],
)
def test_the_number_of_a_vlan(text: str, told: list[tuple[str, int]]) -> None:
    assert [(one.name, one.vlan) for one in read_netdev(text.encode())] == told


def test_networkd_in_full() -> None:
    network = b"""
[Match]
Name=eth0
[Network]
VLAN=mgmt
Bridge=br0
[Route]
Destination=10.0.0.0/8
Gateway=192.0.2.9
[Route]
Gateway=192.0.2.1
"""
    told = read_network(network)
    assert told[0].gateways == ("192.0.2.1",)
    told += read_netdev(b"[NetDev]\nName=mgmt\nKind=vlan\n[VLAN]\nId=7\n")
    told += [Interface("mgmt", addresses=("192.0.2.10/24",))]
    names = summarise(told)
    assert (names.addressed, names.vlans) == (("eth0",), {"eth0": (7,)})


# --- another card


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        (LINK, f"[Match]\nMACAddress={OLD}\n[Link]\nName=san0", HERE),
        (LINK, f"[Match]\nMACAddress={OLD}\n[Link]\nName=own", OTHER),
        (NETWORK, f"[Match]\nMACAddress={OLD}\n[Network]\nName=san0", OTHER),
        (NETWORK, f"[Match] \r\nPermanentMACAddress = {OLD} # x\r\n", OTHER),
    ],
)
def test_a_name_goes_before_a_mac_where_the_file_gives_one(
    path: str, before: str, after: str
) -> None:
    assert rewritten(before, path) == before.replace(OLD, after)


@pytest.mark.parametrize(
    "text",
    [
        f"[Link]\nName=san0\nMACAddress={OLD}\n",  # sets an address
        f"[NetDev]\nMACAddress={OLD}\n",
        f"[Match]\n#MACAddress={OLD}\n;MACAddress={OLD}\n",
        f"MACAddress={OLD}\n",
        f"[Match]\nHost={OLD}\n[Link]\nName=own\n",
        "[Match]\nMACAddress=00:00:5e:00:53:01\n[Link]\nName=own\n",
        f"[Match]\nMACAddress={HERE}\n[Link]\nName=own\n",
        "[Match]\nPath=pci-0000:09:00.0\n[Link]\nName=own\n",
    ],
)
def test_what_matches_no_card_of_the_server_stays(text: str) -> None:
    assert rewritten(text) == text


@pytest.mark.parametrize(
    ("path", "name", "mac"),
    [(LINK, "san0", HERE), (LINK, "own", OTHER), (NETWORK, "san0", OTHER)],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_slot_becomes_the_card_that_stands_for_the_one_in_it(
    path: str, name: str, mac: str, end: str
) -> None:
    text = f"[Match]{end}Path={{}}{end}[Link]{end}Name={name}{end}"
    after = text.replace("Path={}", f"MACAddress={mac}")
    for pattern in (f"pci-{SLOT}", f"virtio-pci-{SLOT}", "pci-0000:03:*", f"x pci-{SLOT}"):
        assert rewritten(text.format(pattern), path) == after


def test_a_slot_beside_a_mac_goes() -> None:
    """A card has to match both (systemd.link(5)), and the slot is that of another one here."""
    text = f"[Match]\nMACAddress={{}}\n{{}}Path=pci-{SLOT}\n[Link]\nName=san0\n"
    assert rewritten(text.format(OLD, "")) == text.format(HERE, "#")


# --- a file of ours


@pytest.mark.parametrize(
    ("version", "has_type"), [(0, False), (TYPE_ETHER - 1, False), (TYPE_ETHER, True), (257, True)]
)
def test_our_file_gives_the_name_to_a_card_and_no_vlan(version: int, *, has_type: bool) -> None:
    content = render_link("enp3s0", HERE, version)
    assert (b"\nType=ether\n" in content) is has_type
    assert read_link(content) == [Interface("enp3s0", mac=HERE)]
    assert rewrite_match(content, LINK, ASSIGNMENT) == content


# --- hostile


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "#", ";"]),
        st.sampled_from(
            ["[Match]", "[Link]", "[Network]", "MACAddress=", "Path=", "Name=", "VLAN"]
        ),
        st.sampled_from([OLD, HERE, OLD.upper(), f"pci-{SLOT}", "san0", "", "\xe4 \\"]),
        st.sampled_from(["\n", "\r\n", " \n", ""]),
    ).map("".join),
    max_size=10,
).map("".join)


@given(_LINES, st.sampled_from([LINK, NETWORK]))
def test_no_line_but_a_match_changes(text: str, path: str) -> None:
    after = rewritten(text, path)
    for old, new in zip(text.split("\n"), after.split("\n"), strict=True):
        assert new == old or ("MACAddress=" in old or "Path=" in old)


@pytest.mark.parametrize("piece", [" ", "a", "[", "Name=", "[a] ", "a ", "\x85"])
def test_a_long_line_is_read_in_its_length(piece: str) -> None:
    text = f"{piece * (1_000_000 // len(piece))}x\n[Match]\n[Link]\nName=eth0\n".encode("latin-1")
    assert [one.name for one in read_link(text)] == ["eth0"]
    assert rewrite_match(text, LINK, ASSIGNMENT) == text


def test_a_long_name_is_read_in_its_length() -> None:
    text = b"[connection]\ninterface-name=y" + b" " * 1_000_000 + b"x\n[Link]\nName=eth0\n"
    assert len(read_link(text)) == 1
