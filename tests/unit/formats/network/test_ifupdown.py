"""/etc/network/interfaces, and Univention's registry from which it is made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.destinations import summarise
from payload.formats.network.ifupdown import (
    base_name,
    in_network,
    read_ifupdown,
    read_ucr,
    read_values,
)
from payload.formats.network.interface import ANYWHERE, Interface


def read(text: str) -> list[Interface]:
    return read_ifupdown(text.encode("latin-1"))


def registry(**values: str) -> list[Interface]:
    lines = (f"{key.replace('__', '/')}: {value}\n" for key, value in values.items())
    return read_ucr("".join(lines).encode())


# --- interfaces


@pytest.mark.parametrize(
    ("text", "address", "dynamic"),
    [
        ("iface eth0 inet static\n address 192.0.2.7/24\n", "192.0.2.7/24", False),
        (
            "iface eth0 inet static\n netmask 255.255.255.0\n address 192.0.2.7\n",
            "192.0.2.7/255.255.255.0",
            False,
        ),
        ("iface eth0 inet static\n address 10.0.0.7\n", "10.0.0.7/8", False),
        ("iface eth0 inet6 static\n address 2001:db8::7\n netmask 48\n", "2001:db8::7/48", False),
        ("iface eth0 inet dhcp\n", "", True),
        ("iface eth0 inet bootp\n", "", True),
        ("iface eth0 inet static\n", "", True),  # the address comes from a script or a mapping
        ("iface eth0 inet manual\n", "", False),
        ("iface eth0 inet6 auto\n", "", False),
        ("iface eth0 \\\n inet \\\r\n dhcp\n", "", True),
    ],
)
def test_an_interface_has_the_address_of_its_stanza(
    text: str, address: str, *, dynamic: bool
) -> None:
    (found,) = read(text)
    expected = (address,) if address else ()
    assert (found.name, found.addresses, found.dynamic) == ("eth0", expected, dynamic)


@pytest.mark.parametrize(
    "line", ["mapping eth*", "auto eth1", "allow-hotplug eth1", "iface eth1 inet manual", "iface x"]
)
def test_options_belong_to_the_stanza_above_them(line: str) -> None:
    text = f"iface eth0 inet dhcp\n gateway 192.0.2.1\n{line}\n gateway 192.0.2.9\n"
    told = [one.gateways for one in read(text) if one.name == "eth0"]
    assert told == [("192.0.2.1",)]


@pytest.mark.parametrize("word", ["auto", "allow-hotplug", "allow-auto"])
def test_names_that_are_only_mentioned_are_interfaces_too(word: str) -> None:
    assert [one.name for one in read(f"{word} eth0 eth1:2\n")] == ["eth0", "eth1"]


@pytest.mark.parametrize("text", ["", "# iface eth0 inet dhcp\n", "iface eth0\n", "\n \n\t\n", "x"])
def test_what_is_no_stanza_is_no_interface(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("option", "gateways"),
    [
        ("gateway 192.0.2.1", ("192.0.2.1",)),
        ("up route add default gw 192.0.2.1", (ANYWHERE,)),
        ("post-up ip route add default via 192.0.2.1", (ANYWHERE,)),
        ("up route add -net 0.0.0.0/0 gw 192.0.2.1", (ANYWHERE,)),
        ("up ip route add 10.0.0.0/8 via 192.0.2.9", ()),
        ("down ip route add default via 192.0.2.1", ()),
        ("up ip route add defaults", ()),
    ],
)
def test_a_way_to_everywhere_also_by_a_command(option: str, gateways: tuple[str, ...]) -> None:
    (found,) = read(f"iface eth0 inet static\n address 192.0.2.7/24\n {option}\n")
    assert found.gateways == gateways


@pytest.mark.parametrize(
    "option",
    ["slaves", "bond-slaves", "bond_slaves", "bridge_ports", "bridge-ports"],
)
def test_members_of_a_bond_or_a_bridge(option: str) -> None:
    (found,) = read(f"iface up0 inet manual\n {option} eth0 eth1\n")
    assert found.lower == ("eth0", "eth1")


@pytest.mark.parametrize("word", ["none", "all", "regex"])
def test_words_in_the_place_of_members_are_no_members(word: str) -> None:
    (found,) = read(f"iface br0 inet manual\n bridge_ports {word}\n")
    assert found.lower == ()


@pytest.mark.parametrize("option", ["bond-master", "bond_master"])
def test_a_member_that_names_its_bond(option: str) -> None:
    member, bond = read(f"iface eth0 inet manual\n {option} bond0\n")
    assert (member.name, bond.name, bond.lower) == ("eth0", "bond0", ("eth0",))


@pytest.mark.parametrize("option", ["vlan-raw-device", "vlan_raw_device"])
@pytest.mark.parametrize(("name", "vlan"), [("vlan12", 12), ("san", 0), ("vlan0012", 12)])
def test_a_vlan_by_the_number_in_its_name(option: str, name: str, vlan: int) -> None:
    (found,) = read(f"iface {name} inet manual\n {option} eth0\n")
    assert (found.lower, found.vlan) == (("eth0",), vlan)


def test_ifupdown_aliases_vlans_bonds_and_the_gateway() -> None:
    text = """
auto lo eth5
iface lo inet loopback
iface eth2 inet static
    address 10.0.0.5
iface eth2:1 inet static
    address 10.0.0.6
iface eth1.100 inet static
    address 192.0.2.5
    gateway 192.0.2.1
iface bond0 inet dhcp
    bond-slaves eth3 \\
        eth4
iface eth6 inet manual
# iface eth7 inet static
"""
    names = summarise(read_ifupdown(text.encode()))
    assert names.addressed == ("eth1", "eth2", "eth3", "eth4")
    assert names.configured == ("eth5", "eth6")


def test_the_card_below_a_bridge_leads_to_its_gateway() -> None:
    text = "iface br0 inet static\n gateway 10.0.0.1\n bridge_ports eth1\niface eth0 inet dhcp\n"
    assert summarise(read_ifupdown(text.encode())).addressed == ("eth1", "eth0")


@pytest.mark.parametrize(
    "piece",
    ["\\\n", " ", "iface ", "up route add -net ", "auto a ", "route  ", "#", "\\x", "\x85"],
)
def test_a_long_line_is_read_in_its_length(piece: str) -> None:
    text = "iface eth0 inet dhcp\nup " + piece * (1_000_000 // len(piece)) + "\niface eth1 a dhcp\n"
    assert {"eth0", "eth1"} == {one.name for one in read(text)}


# --- the registry


def test_the_registrys_values() -> None:
    text = b"# base.conf\na/b: c: d \nempty: \nno colon\nurl:x\n#gone: x\n"
    assert read_values(text) == {"a/b": "c: d", "empty": ""}


def test_the_registrys_interfaces_and_aliases() -> None:
    told = registry(
        interfaces__eth0__address="192.0.2.7",
        interfaces__eth0__netmask="255.255.255.0",
        interfaces__eth0_1__address="192.0.2.8",
        interfaces__eth0_1__netmask="255.255.255.0",
        interfaces__eth1__type="dhcp",
        interfaces__eth2__type="manual",
        interfaces__eth2__mac="00:1a:64:6c:11:0e",
        interfaces__br0__options__0="bridge_ports eth3 eth4",
        repository__online__server="updates.example.org",
    )
    addresses = [(one.name, one.addresses[0]) for one in told if one.addresses]
    assert addresses == [
        ("eth0", "192.0.2.7/255.255.255.0"),
        ("eth0", "192.0.2.8/255.255.255.0"),
    ]
    assert [one.name for one in told if one.dynamic] == ["eth1"]
    assert [(one.name, one.lower) for one in told if one.lower] == [("br0", ("eth3", "eth4"))]
    assert {one.name for one in told} == {"eth0", "eth1", "eth2", "br0"}


@pytest.mark.parametrize(
    ("gateway", "primary", "told"),
    [
        ("192.0.2.1", "eth0", [("", "192.0.2.1")]),  # its network says which card leads there
        ("198.51.100.1", "eth0", [("eth0", "198.51.100.1")]),
        ("198.51.100.1", "eth0_1", [("eth0", "198.51.100.1")]),
        ("", "eth0", [("eth0", ANYWHERE)]),
        ("198.51.100.1", "", [("", "198.51.100.1")]),
        ("", "", []),
    ],
)
def test_the_registrys_gateway(gateway: str, primary: str, told: list[tuple[str, str]]) -> None:
    found = registry(
        gateway=gateway,
        interfaces__primary=primary,
        interfaces__eth0__address="192.0.2.7",
        interfaces__eth0__netmask="255.255.255.0",
    )
    assert [(one.name, one.gateways[0]) for one in found if one.gateways] == told


def test_univention_registry_knows_the_gateway_by_its_network() -> None:
    text = """# base.conf
gateway: 192.0.2.1
interfaces/eth0/address: 10.0.0.5
interfaces/eth0/netmask: 255.255.255.0
interfaces/eth1/address: 192.0.2.5
interfaces/eth1/netmask: 255.255.255.0
interfaces/eth1_1/address: 192.0.2.6
interfaces/eth2/netmask: 255.0.0.0
ldap/master: master.example.org
"""
    names = summarise(read_ucr(text.encode()))
    assert names.addressed == ("eth1", "eth0")
    assert names.configured == ("eth2",)


@pytest.mark.parametrize(
    ("address", "network", "expected"),
    [
        ("192.0.2.1", "192.0.2.7/24", True),
        ("192.0.2.1", "192.0.2.7/255.255.255.0", True),
        ("192.0.3.1", "192.0.2.7/24", False),
        ("2001:db8::1", "2001:db8::7/64", True),
        ("192.0.2.1", "2001:db8::7/64", False),
        ("gateway", "192.0.2.7/24", False),
        ("192.0.2.1", "192.0.2.7/99", False),
        ("192.0.2.1", "", False),
        ("", "", False),
    ],
)
def test_what_lies_in_a_network(address: str, network: str, *, expected: bool) -> None:
    assert in_network(address, network) is expected


@pytest.mark.parametrize(
    ("name", "expected"), [("eth0:1", "eth0"), ("eth0", "eth0"), (":", ""), ("a:b:c", "a")]
)
def test_an_alias_is_the_interface_below_it(name: str, expected: str) -> None:
    assert base_name(name) == expected


_LINES = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "\t", "#"]),
        st.sampled_from(["iface", "auto", "address", "gateway", "bond-slaves", "up", "mapping"]),
        st.sampled_from([" eth0", " eth0:1 inet static", " ip route add default", " none", ""]),
        st.sampled_from(["\n", "\r\n", "\\\n", ""]),
    ).map("".join),
    max_size=12,
).map("".join)


@given(_LINES | st.text("ifaceuto: \\\n/0_", max_size=60))
def test_any_text_is_interfaces_that_have_no_card_yet(text: str) -> None:
    for found in (*read(text), *read_ucr(text.encode())):
        assert (found.mac, found.slot) == ("", ""), "neither form ties a name to a card"
        assert ":" not in found.name


@given(st.text(max_size=60), st.text(max_size=30))
def test_any_two_words_are_a_network_or_none(address: str, network: str) -> None:
    assert in_network(address, network) in (True, False)
