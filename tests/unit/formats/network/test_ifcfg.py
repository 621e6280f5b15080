"""ifcfg files of RHEL and SUSE: what they say, and how they are tied to another card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.destinations import summarise
from payload.formats.network.ifcfg import (
    read_ifcfg,
    read_routes,
    read_sysconfig_network,
    rename_suse,
    rewrite_ifcfg,
)
from payload.formats.network.interface import ANYWHERE, Assignment, Interface
from payload.model.machine import Card

OLD, HERE, OTHER = "00:1a:64:6c:11:0e", "52:54:00:9a:00:1c", "52:54:00:9a:00:2d"
RHEL, SUSE = "/etc/sysconfig/network-scripts/ifcfg-", "/etc/sysconfig/network/ifcfg-"
SLOT = "0000:03:00.0"
ASSIGNMENT = Assignment(
    {"eth0": HERE}, [Card("ens1", HERE)], macs={OLD: OTHER}, slots={SLOT: OTHER}
)


def read(text: str, name: str = "eth0") -> list[Interface]:
    return read_ifcfg(text.encode("latin-1"), RHEL + name)


def card(text: str, name: str = "eth0") -> Interface:
    return read(text, name)[0]


# --- the name and the card


def test_the_files_name_counts_where_no_device_is_named() -> None:
    assert card("BOOTPROTO=none\n").name == "eth0"
    assert card("DEVICE=lan0\n").name == "lan0"
    assert card("DEVICE=eth0:1\n", "eth0:1").name == "eth0", "an alias is the same interface"


@pytest.mark.parametrize(
    ("line", "mac"),
    [
        (f"HWADDR={OLD.upper()}", OLD),
        (f'HWADDR="{OLD}"', OLD),
        (f" export HWADDR='{OLD}' # the card", OLD),
        (f"HWADDR={OLD}\r", OLD),
        (f"#HWADDR={OLD}", ""),
        (f"MACADDR={OLD}", ""),
        ("HWADDR=00-1a-64-6c-11-0e", ""),
        ("HWADDR=80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1", ""),
        ("HWADDR=", ""),
    ],
)
def test_hwaddr_ties_the_name_to_a_card(line: str, mac: str) -> None:
    assert card(f"DEVICE=eth0\n{line}\n").mac == mac


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"eth-id-{OLD}", ("", OLD, "")),
        (f"eth-bus-pci-{SLOT}", ("", "", SLOT)),
        (f"wlan-id-{OLD.upper()}", ("", OLD, "")),
    ],
)
def test_suse_10_ties_a_file_by_its_own_name(name: str, told: tuple[str, str, str]) -> None:
    (found,) = read_ifcfg(b"BOOTPROTO='dhcp'\n", SUSE + name)
    assert (found.name, found.mac, found.slot) == told


@pytest.mark.parametrize(
    "name",
    ["lo", "eth0.bak", "eth0~", "eth0.rpmsave", "eth0.rpmnew", "eth0.orig", "eth0.old"],
)
def test_the_loopback_and_backups_say_nothing(name: str) -> None:
    text = f"DEVICE=eth0\nHWADDR={OLD}\n"
    assert read(text, name) == []
    assert rewrite_ifcfg(text.encode(), RHEL + name, ASSIGNMENT) == text.encode()


# --- addresses and gateways


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("IPADDR=192.0.2.7\nNETMASK=255.255.255.0\n", ("192.0.2.7/255.255.255.0",)),
        ("IPADDR=192.0.2.7\nPREFIX=26\n", ("192.0.2.7/26",)),
        ("IPADDR='192.0.2.7'\nPREFIXLEN='26'\n", ("192.0.2.7/26",)),
        ("IPADDR=192.0.2.7/27\n", ("192.0.2.7/27",)),
        ("IPADDR=10.0.0.7\n", ("10.0.0.7/8",)),
        ("IPADDR0=10.0.0.7\nPREFIX0=24\nIPADDR1=10.0.1.7\n", ("10.0.0.7/24", "10.0.1.7/8")),
        ("IPADDR=\n", ()),
        ("#IPADDR=192.0.2.7\n", ()),
    ],
)
def test_addresses_with_the_masks_that_belong_to_them(
    text: str, addresses: tuple[str, ...]
) -> None:
    assert card(text).addresses == addresses


@pytest.mark.parametrize(
    ("text", "dynamic"),
    [
        ("BOOTPROTO=dhcp\n", True),
        ("BOOTPROTO='DHCP4'\n", True),
        ("BOOTPROTO=none\n", False),
        ("BOOTPROTO='STATIC'\n", False),
        ("", False),
        ("BOOTPROTO=dhcp\nIPADDR=192.0.2.7\n", False),
    ],
)
def test_an_address_by_dhcp(text: str, *, dynamic: bool) -> None:
    assert card(text).dynamic is dynamic


@pytest.mark.parametrize(
    ("text", "gateways"),
    [
        ("GATEWAY=192.0.2.1\n", ("192.0.2.1",)),
        ("GATEWAY=192.0.2.1\nDEFROUTE=no\n", ()),
        ("GATEWAY=192.0.2.1\nDEFROUTE=YES\n", ("192.0.2.1",)),
        ("DEFROUTE=yes\n", ()),
    ],
)
def test_the_gateway_of_a_card(text: str, gateways: tuple[str, ...]) -> None:
    assert card(text).gateways == gateways


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GATEWAY=192.0.2.1\n", [("", ("192.0.2.1",))]),
        ("GATEWAY=192.0.2.1\nGATEWAYDEV=eth1\n", [("eth1", ("192.0.2.1",))]),
        ("GATEWAYDEV=eth1\n", [("eth1", (ANYWHERE,))]),
        ("NETWORKING=yes\n", []),
    ],
)
def test_the_gateway_of_the_whole_system(
    text: str, told: list[tuple[str, tuple[str, ...]]]
) -> None:
    found = read_sysconfig_network(text.encode(), "/etc/sysconfig/network")
    assert [(one.name, one.gateways) for one in found] == told


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("routes", "default 192.0.2.1 - -", [("", ("192.0.2.1",))]),
        ("routes", "default 192.0.2.1 - eth1", [("eth1", ("192.0.2.1",))]),
        ("routes", "0.0.0.0/0 192.0.2.1", [("", ("192.0.2.1",))]),
        ("ifroute-eth9", "default 10.0.0.1 - -", [("eth9", ("10.0.0.1",))]),
        ("routes", "10.0.0.0/8 192.0.2.9 - eth1", []),
        ("routes", "# default 192.0.2.1 - eth1", []),
        ("routes", "", []),
    ],
)
def test_suses_routes_lead_to_the_gateway(
    file: str, line: str, told: list[tuple[str, tuple[str, ...]]]
) -> None:
    found = read_routes(f"{line}\n".encode(), f"/etc/sysconfig/network/{file}")
    assert [(one.name, one.gateways) for one in found] == told


# --- stacked interfaces


@pytest.mark.parametrize("key", ["MASTER", "BRIDGE", "TEAM_MASTER"])
def test_rhels_members_name_their_master(key: str) -> None:
    member, master = read(f"DEVICE=eth0\n{key}=up0\n")
    assert (member.name, master.name, master.lower) == ("eth0", "up0", ("eth0",))


@pytest.mark.parametrize(
    "lines",
    [
        "BONDING_SLAVE0='eth0'\nBONDING_SLAVE_1='eth1'\n",
        "BRIDGE_PORTS='eth0 eth1'\n",
        "TEAM_PORT_DEVICE_0='eth0'\nTEAM_PORT_DEVICE_1='eth1'\n",
    ],
)
def test_suses_masters_name_their_members(lines: str) -> None:
    assert card(lines, "up0").lower == ("eth0", "eth1")


@pytest.mark.parametrize(
    ("text", "name", "lower", "vlan"),
    [
        ("ETHERDEVICE=eth0\n", "vlan12", ("eth0",), 12),
        ("PHYSDEV=eth0\nVLAN_ID=7\n", "vlan12", ("eth0",), 7),
        ("PHYSDEV=eth0\n", "san", ("eth0",), 0),
        ("VLAN_ID=seven\n", "san", (), 0),
        ("", "vlan12", (), 0),
    ],
)
def test_a_vlan_has_its_number_and_its_card(
    text: str, name: str, lower: tuple[str, ...], vlan: int
) -> None:
    found = card(text, name)
    assert (found.lower, found.vlan) == (lower, vlan)


def test_suse_in_full() -> None:
    told = read_ifcfg(
        b"BONDING_SLAVE_0='eth0'\nBONDING_SLAVE0='eth1'\nIPADDR='192.0.2.10'\nPREFIXLEN=24\n",
        "/etc/sysconfig/network/ifcfg-bond0",
    )
    told += read_ifcfg(
        b"ETHERDEVICE='bond0'\nBOOTPROTO='dhcp'\n", "/etc/sysconfig/network/ifcfg-vlan12"
    )
    told += read_routes(b"default 192.0.2.1 - -\n", "/etc/sysconfig/network/routes")
    told += read_routes(b"default 10.0.0.1 - -\n", "/etc/sysconfig/network/ifroute-eth9")
    names = summarise(told)
    assert names.addressed == ("eth0", "eth1")
    assert names.vlans == {"eth0": (0, 12), "eth1": (0, 12)}
    assert names.configured == ("eth9",)


# --- another card


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"DEVICE=eth0\nHWADDR={OLD}\n", f"DEVICE=eth0\nHWADDR={HERE}\n"),
        (f"HWADDR={OLD.upper()}\nDEVICE=eth0", f"HWADDR={HERE.upper()}\nDEVICE=eth0"),
        (f'  HWADDR="{OLD}" # tg3\r\n', f'  HWADDR="{HERE}" # tg3\r\n'),
        (f"DEVICE=eth7\nHWADDR={OLD}\n", f"DEVICE=eth7\nHWADDR={OTHER}\n"),
        (f"DEVICE=eth7\nHWADDR={HERE}\n", f"DEVICE=eth7\nHWADDR={HERE}\n"),
        (f"DEVICE=eth0\nMACADDR={OLD}\n", f"DEVICE=eth0\nMACADDR={OLD}\n"),
        (f"DEVICE=eth0\n#HWADDR={OLD}\n", f"DEVICE=eth0\n#HWADDR={OLD}\n"),
        ("DEVICE=eth0\n", "DEVICE=eth0\n"),
    ],
)
def test_the_name_is_tied_to_the_card_here(before: str, after: str) -> None:
    done = rewrite_ifcfg(before.encode(), RHEL + "eth0", ASSIGNMENT)
    assert done.decode() == after
    assert rewrite_ifcfg(done, RHEL + "eth0", ASSIGNMENT) == done


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"ifcfg-eth-id-{OLD}", f"ifcfg-eth-id-{OTHER}"),
        (f"ifcfg-eth-id-{OLD.upper()}", f"ifcfg-eth-id-{OTHER}"),
        (f"ifcfg-eth-bus-pci-{SLOT}", f"ifcfg-eth-id-{OTHER}"),
        (f"ifroute-eth-id-{OLD}", f"ifroute-eth-id-{OTHER}"),
        (f"ifcfg-eth-id-{HERE}", f"ifcfg-eth-id-{HERE}"),
        ("ifcfg-eth-id-00:00:5e:00:53:01", "ifcfg-eth-id-00:00:5e:00:53:01"),
        ("ifcfg-eth-bus-pci-0000:09:00.0", "ifcfg-eth-bus-pci-0000:09:00.0"),
        ("ifcfg-eth0", "ifcfg-eth0"),
    ],
)
def test_suses_file_is_called_after_the_card_here(name: str, expected: str) -> None:
    directory = "/etc/sysconfig/network"
    assert rename_suse(f"{directory}/{name}", ASSIGNMENT) == f"{directory}/{expected}"


def test_a_mac_in_the_name_of_the_directory_is_no_name_of_a_file() -> None:
    path = f"/etc/x-id-{OLD}/ifcfg-eth0"
    assert rename_suse(path, ASSIGNMENT) == path


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["DEVICE", "HWADDR", "MACADDR", "IPADDR", "MASTER", "ETHERDEVICE", "#x"]),
        st.sampled_from(["=", '="', "='", " = "]),
        st.sampled_from(["eth0", "lan0", OLD, OLD.upper(), HERE, "192.0.2.7", "", "a b", "\xe4"]),
        st.sampled_from(["\n", '"\n', "'\r\n", ""]),
    ).map("".join),
    max_size=8,
).map("".join)


@given(_LINES, st.sampled_from(["eth0", "lan0", f"eth-id-{OLD}"]))
def test_only_hwaddr_lines_ever_change(text: str, name: str) -> None:
    before = text.encode("latin-1")
    after = rewrite_ifcfg(before, RHEL + name, ASSIGNMENT)
    assert len(after) == len(before)
    for old, new in zip(before.split(b"\n"), after.split(b"\n"), strict=True):
        assert new == old or old.startswith(b"HWADDR")
    assert rewrite_ifcfg(after, RHEL + name, ASSIGNMENT) == after


@pytest.mark.parametrize("piece", [" ", "export ", "A", 'A="', "HWADDR=", "\x85", "#"])
def test_a_long_line_is_read_in_its_length(piece: str) -> None:
    text = (piece * (1_000_000 // len(piece)) + "\nDEVICE=eth0\n").encode("latin-1")
    assert read_ifcfg(text, RHEL + "x")[0].name == "eth0"
    assert rewrite_ifcfg(text, RHEL + "x", ASSIGNMENT) == text
