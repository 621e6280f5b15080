"""NetworkManager's profiles, and what its settings say of cards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.destinations import summarise
from payload.formats.network.interface import Assignment, Interface
from payload.formats.network.network_manager import (
    read_keyfile,
    rewrite_keyfile,
    rewrite_mentions,
)
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "52:54:00:9a:00:11", "52:54:00:9a:00:22"
PATH = "/etc/NetworkManager/system-connections/lan"
ASSIGNMENT = Assignment({"lan0": HERE}, [Card("ens1", HERE)], macs={OLD: OTHER})
HEAD = "[connection]\ninterface-name=lan0\n"


def read(text: str) -> list[Interface]:
    return read_keyfile(text.encode("latin-1"))


def profile(text: str) -> Interface:
    return read(f"{HEAD}{text}")[0]


def rewritten(text: str) -> str:
    after = rewrite_keyfile(text.encode("latin-1"), PATH, ASSIGNMENT)
    assert rewrite_keyfile(after, PATH, ASSIGNMENT) == after
    return after.decode("latin-1")


# --- reading


@pytest.mark.parametrize(
    ("text", "name", "mac"),
    [
        ("[connection]\ninterface-name=lan0\n", "lan0", ""),
        (f"[ethernet]\nmac-address={OLD.upper()}\n", "", OLD),
        (f"[802-3-ethernet]\r\n mac-address = {OLD} \r\n", "", OLD),
        (f"{HEAD}type=ethernet\n[ethernet]\nmac-address={OLD}\n", "lan0", OLD),
        (f"{HEAD}[ethernet]\ncloned-mac-address={OLD}\n", "lan0", ""),
        (f"{HEAD}[ethernet]\nmac-address=80:00:{OLD}\n", "lan0", ""),
        (f"{HEAD}[wifi]\nmac-address={OLD}\n", "lan0", ""),
        (f"{HEAD}[ethernet]\n#mac-address={OLD}\n", "lan0", ""),
    ],
)
def test_a_profile_is_for_a_name_or_a_card(text: str, name: str, mac: str) -> None:
    (found,) = read(text)
    assert (found.name, found.mac) == (name, mac)


@pytest.mark.parametrize("kind", ["wifi", "802-11-wireless", "loopback", "vpn"])
def test_a_profile_for_no_wired_card_says_nothing(kind: str) -> None:
    assert read(f"{HEAD}type={kind}\n") == []


@pytest.mark.parametrize(
    "text", ["", "[connection]\nid=any\n", "interface-name=lan0\n", "[x]\ninterface-name=lan0\n"]
)
def test_a_profile_for_any_card_says_nothing(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "addresses", "gateways"),
    [
        ("[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\n", ("192.0.2.7/24",), ("192.0.2.1",)),
        ("[ipv4]\naddress1=192.0.2.7/24\ngateway=192.0.2.1\n", ("192.0.2.7/24",), ("192.0.2.1",)),
        ("[ipv4]\naddresses1=192.0.2.7;24;192.0.2.1;\n", ("192.0.2.7/24",), ()),
        ("[ipv4]\naddresses1=192.0.2.7;24;192.0.2.1\n", ("192.0.2.7/24",), ("192.0.2.1",)),
        ("[ipv4]\naddress=192.0.2.7/24\n", ("192.0.2.7/24",), ()),
        (
            "[ipv4]\naddress1=192.0.2.7/24\n[ipv6]\naddress1=2001:db8::7/64,fe80::1\n",
            ("192.0.2.7/24", "2001:db8::7/64"),
            ("fe80::1",),
        ),
        (
            "[ipv4]\naddress1=192.0.2.7/24,192.0.2.1\nnever-default=true\n",
            ("192.0.2.7/24",),
            (),
        ),
        ("[ipv4]\nroute1=0.0.0.0/0,192.0.2.1,100\n", (), ("192.0.2.1",)),
        ("[ipv6]\nroute1=::/0,fe80::1\n", (), ("fe80::1",)),
        ("[ipv4]\nroute1=10.0.0.0/8,192.0.2.9\n", (), ()),
        ("[ipv4]\naddress1=\n", (), ()),
        ("[proxy]\naddress1=192.0.2.7/24,192.0.2.1\ngateway=192.0.2.1\n", (), ()),
    ],
)
def test_addresses_and_gateways(
    text: str, addresses: tuple[str, ...], gateways: tuple[str, ...]
) -> None:
    assert (profile(text).addresses, profile(text).gateways) == (addresses, gateways)


@pytest.mark.parametrize(
    ("text", "dynamic"),
    [
        ("[ipv4]\nmethod=auto\n", True),
        ("[ipv4]\nmethod=manual\n", False),
        ("[ipv6]\nmethod=auto\n", False),  # router advertisements: no server gives these
        ("", False),
    ],
)
def test_an_address_by_dhcp(text: str, *, dynamic: bool) -> None:
    assert profile(text).dynamic is dynamic


@pytest.mark.parametrize("key", ["controller", "master"])
@pytest.mark.parametrize(("text", "card"), [(HEAD, "lan0"), ("[connection]\n", OLD)])
def test_a_member_names_its_master(text: str, card: str, key: str) -> None:
    found = read(f"{text}{key}=br0\n[ethernet]\nmac-address={OLD}\n")
    assert [(one.name, one.lower) for one in found[1:]] == [("br0", (card,))]


@pytest.mark.parametrize(("number", "vlan"), [("5", 5), ("five", 0), ("99999", 0), ("", 0)])
def test_a_vlan_has_its_number_and_its_card(number: str, vlan: int) -> None:
    found = profile(f"uuid=b\n[vlan]\nparent=a\nid={number}\n")
    assert (found.lower, found.vlan, found.key) == (("a",), vlan, "b")


def test_networkmanager_in_full() -> None:
    vlan = b"[connection]\nuuid=b\ntype=vlan\ninterface-name=san\n[vlan]\nparent=a\nid=5\n"
    base = (
        b"[connection]\nuuid=a\ntype=ethernet\ncontroller=br0\n"
        b"[ethernet]\nmac-address=00:1A:64:6C:11:0E\n"
    )
    bridge = (
        b"[connection]\nuuid=c\ntype=bridge\ninterface-name=br0\n"
        b"[ipv4]\nmethod=manual\naddresses1=192.0.2.10;24;192.0.2.1;\n"
    )
    told = [one for text in (vlan, base, bridge) for one in read_keyfile(text)]
    names = summarise(told)
    assert names.addressed == (OLD,)
    assert names.vlans == {OLD: (0, 5)}


# --- another card


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{HEAD}[ethernet]\nmac-address={OLD}\n", f"{HEAD}[ethernet]\nmac-address={HERE}\n"),
        (f"[ethernet]\nmac-address={OLD}\n", f"[ethernet]\nmac-address={OTHER}\n"),
        (
            f"[802-3-ethernet]\r\n mac-address = {OLD.upper()}\r\n{HEAD}",
            f"[802-3-ethernet]\r\n mac-address = {HERE.upper()}\r\n{HEAD}",
        ),
    ],
)
def test_the_profile_is_for_the_card_here(before: str, after: str) -> None:
    assert rewritten(before) == after


@pytest.mark.parametrize(
    "text",
    [
        f"[ethernet]\ncloned-mac-address={OLD}\n",
        f"[ethernet]\nmac-address-blacklist={OLD}\n",
        f"[ethernet]\n#mac-address={OLD}\n",
        f"[wifi]\nmac-address={OLD}\n",
        f"mac-address={OLD}\n",
        "[ethernet]\nmac-address=00:00:5e:00:53:01\n",
        f"[ethernet]\nmac-address={HERE}\n",
        f"[connection]\nid={OLD}\nuuid={OLD}\n",
        "",
    ],
)
def test_what_ties_a_profile_to_no_card_of_the_server_stays(text: str) -> None:
    assert rewritten(text) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"unmanaged-devices=mac:{OLD};interface-name:x",
            f"unmanaged-devices=mac:{OTHER};interface-name:x",
        ),
        (f"no-auto-default={OLD.upper()},*\r\n", f"no-auto-default={OTHER.upper()},*\r\n"),
        (
            f"match-device=mac:00-1a-64-6c-11-0e\n# {OLD}\n",
            f"match-device=mac:52-54-00-9a-00-22\n# {OLD}\n",
        ),
        ("no-auto-default=00:00:5e:00:53:01\n", "no-auto-default=00:00:5e:00:53:01\n"),
        (f"no-auto-default={HERE}\n", f"no-auto-default={HERE}\n"),
    ],
)
def test_settings_mean_the_cards_here(before: str, after: str) -> None:
    path = "/etc/NetworkManager/NetworkManager.conf"
    done = rewrite_mentions(before.encode(), path, ASSIGNMENT)
    assert done.decode() == after
    assert rewrite_mentions(done, path, ASSIGNMENT) == done


# --- hostile


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "#"]),
        st.sampled_from(
            ["[ethernet]", "[connection]", "[wifi]", "mac-address=", "interface-name=", "master="]
        ),
        st.sampled_from([OLD, HERE, OLD.upper(), "lan0", "", "\xe4", ";"]),
        st.sampled_from(["\n", "\r\n", ""]),
    ).map("".join),
    max_size=10,
).map("".join)


@given(_LINES)
def test_no_line_but_the_cards_mac_changes(text: str) -> None:
    after = rewritten(text)
    assert len(after) == len(text)
    for old, new in zip(text.split("\n"), after.split("\n"), strict=True):
        assert new == old or old.lstrip().startswith("mac-address=")


@given(_LINES | st.text("[ipv4]adres1=,;/ \n", max_size=60))
def test_any_text_is_interfaces_that_can_be_told_apart(text: str) -> None:
    assert all(one.name or one.mac for one in read(text))


@pytest.mark.parametrize("piece", [" ", "a", "[", "mac-address ", ";,", "\x85"])
def test_a_long_line_is_read_in_its_length(piece: str) -> None:
    text = f"[ethernet]\n{piece * (1_000_000 // len(piece))}\n{HEAD}"
    assert [one.name for one in read(text)] == ["lan0"]
    assert rewritten(text) == text


def test_a_long_name_is_read_in_its_length() -> None:
    text = b"[connection]\ninterface-name=y" + b" " * 1_000_000 + b"x\n[Link]\nName=eth0\n"
    assert len(read_keyfile(text)) == 1
