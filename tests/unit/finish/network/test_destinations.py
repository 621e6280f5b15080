"""What each name of a system is good for, from what all its files say together."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.adapt import run_adapt
from payload.finish.network.destinations import DOMAIN, SAN, read_goals, read_names, summarise
from payload.finish.network.name_files import rules_files
from payload.formats.network.interface import Interface
from payload.model.errors import AdaptError

MAC = "00:1a:64:6c:11:0e"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


INTERFACES = """\
iface eth0 inet static
    address 192.0.2.10/24
    gateway 192.0.2.1
iface eth1 inet static
    address 10.0.0.10
    netmask 255.255.255.0
iface eth2 inet dhcp
"""


@pytest.mark.parametrize(
    ("files", "goal"),
    [
        ({"etc/iscsi/nodes/iqn.2001-04.org.example:a/10.0.0.1,3260,1/default": ""}, SAN),
        ({"var/lib/iscsi/nodes/iqn.a/10.0.0.1,3260": ""}, SAN),
        ({"etc/fstab": "10.0.0.1:/spool /var/spool nfs defaults 0 0\n"}, SAN),
        ({"etc/fstab": "//10.0.0.1/share /srv cifs defaults 0 0\n"}, SAN),
        ({"etc/fstab": "nas:/x /x nfs4 ro 0 0\n", "etc/hosts": "10.0.0.1 nas.example nas\n"}, SAN),
        (
            {
                "etc/univention/base.conf": "ldap/master: master.example.org\n"
                "hosts/static/10.0.0.1: master.example.org master\n"
            },
            DOMAIN,
        ),
        ({"etc/ldap/ldap.conf": "#URI x\nURI ldaps://10.0.0.1:7636/\n"}, DOMAIN),
        ({"etc/krb5.conf": "[realms]\n  kdc = 10.0.0.1:88\n"}, DOMAIN),
    ],
)
def test_a_way_is_found_by_its_network(tmp_path: Path, files: dict[str, str], goal: str) -> None:
    names = read_names(put(tmp_path, {"etc/network/interfaces": INTERFACES, **files}))
    assert names.ways == {"eth1": (f"{goal} (10.0.0.1)",)}
    assert names.addressed == ("eth0", "eth1", "eth2")


def test_what_no_network_holds_lies_behind_the_gateway(tmp_path: Path) -> None:
    files = {"etc/network/interfaces": INTERFACES, "etc/fstab": "far.example:/x /x nfs ro 0 0\n"}
    assert read_names(put(tmp_path, files)).ways == {"eth0": (f"{SAN} (name unknown)",)}


def test_the_server_itself_is_no_goal(tmp_path: Path) -> None:
    files = {
        "etc/hostname": "master\n",
        "etc/hosts": "127.0.1.1 alias\n",
        "etc/univention/base.conf": "ldap/master: master.example.org\n",
        "etc/fstab": "alias:/x /x nfs ro 0 0\n#10.0.0.1:/a /a nfs ro 0 0\n/dev/sda1 / ext4 ro 0 1",
    }
    assert read_goals(put(tmp_path, files)) == []


def test_a_way_without_a_card_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    rule = 'SUBSYSTEM=="net", ATTR{address}=="00:1a:64:6c:11:0e", NAME="eth0"\n'
    files = {
        "etc/network/interfaces": INTERFACES,
        "etc/fstab": "10.0.0.1:/spool /var/spool nfs defaults 0 0\n",
        "etc/udev/rules.d/70-persistent-net.rules": rule,
    }
    put(tmp_path, files)
    nics = b'{"nics": [{"mac": "00:50:56:9a:00:11"}]}'
    with pytest.raises(
        AdaptError, match=r"no card for eth1, which leads to the SAN \(10\.0\.0\.1\)"
    ):
        run_adapt(tmp_path, nics)
    assert (tmp_path / "etc/udev/rules.d/70-persistent-net.rules").read_text() == rule
    two = b'{"nics": [{"mac": "00:50:56:9a:00:11"}, {"mac": "00:50:56:9a:00:22"}]}'
    done = run_adapt(tmp_path, two)
    assert {card.name: card.mac[-2:] for card in done.cards if card.mac} == {
        "eth0": "11",
        "eth1": "22",
    }
    assert done.initramfs_stale


def test_stacked_interfaces_need_the_cards_below_and_their_tags() -> None:
    names = summarise(
        [
            Interface("bond0", lower=("eth0", "eth1")),
            Interface("bond0.100", addresses=("192.0.2.10/24",), gateways=("192.0.2.1",)),
            Interface("br0", lower=("eth2",), dynamic=True),
            Interface("storage", lower=("eth3",), vlan=7, addresses=("10.0.0.10/24",)),
            Interface("eth3", addresses=("198.51.100.1/24",)),
            Interface("eth4"),
            Interface("wlan0", dynamic=True),
        ],
        [(SAN, "10.0.0.9")],
    )
    assert names.addressed == ("eth0", "eth1", "eth3", "eth2")
    assert names.configured == ("eth4",)
    assert names.vlans == {"eth0": (100,), "eth1": (100,), "eth2": (0,), "eth3": (0, 7)}
    assert names.ways == {"eth3": (f"{SAN} (10.0.0.9)",)}


def test_interfaces_on_each_other_in_a_circle_end() -> None:
    names = summarise([Interface("br0", lower=("br1",)), Interface("br1", lower=("br0",))])
    assert names.addressed == ()


_SOME = st.sampled_from(["", "eth0", "eth1", "br0", "bond0", "bond0.7", "lo", MAC, "x" * 40, "%"])
_ANY = st.builds(
    Interface,
    _SOME,
    mac=st.sampled_from(["", MAC]),
    slot=st.sampled_from(["", "0000:02:00.0"]),
    addresses=st.lists(st.sampled_from(["10.0.0.1/24", "x", "::1/64"]), max_size=2).map(tuple),
    dynamic=st.booleans(),
    gateways=st.lists(st.sampled_from(["10.0.0.9", "", "y"]), max_size=1).map(tuple),
    lower=st.lists(_SOME, max_size=3).map(tuple),
    vlan=st.integers(0, 4094),
    key=_SOME,
)


@given(st.lists(_ANY, max_size=12))
def test_whatever_is_told_names_are_cards_and_each_is_once(told: list[Interface]) -> None:
    names = summarise(told, [(SAN, "10.0.0.5"), (DOMAIN, "")])
    every = (*names.addressed, *names.configured)
    assert len(every) == len(set(every))
    assert set(every) <= {"eth0", "eth1", "bond0", "br0", "bond0.7", "lo", MAC}
    assert names.ways.keys() | names.vlans.keys() <= {*every, *names.macs, *names.slots}


def test_many_interfaces_on_each_other_take_no_time() -> None:
    every = tuple(f"br{n}" for n in range(60))
    assert summarise([Interface(name, lower=every) for name in every]).addressed == ()


def test_a_link_in_a_circle_is_no_file(tmp_path: Path) -> None:
    put(tmp_path, {"etc/network/interfaces": INTERFACES, "etc/network/interfaces.d/a": ""})
    (tmp_path / "etc/network/interfaces.d/b").symlink_to("b")
    (tmp_path / "etc/netplan").symlink_to("netplan/x")
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d/70-persistent-net.rules").symlink_to("70-persistent-net.rules")
    assert rules_files(tmp_path) == ()
    assert read_names(tmp_path).addressed == ("eth0", "eth1", "eth2")


def test_a_card_known_by_its_mac_alone_has_that_for_a_name() -> None:
    names = summarise([Interface("", mac=MAC, addresses=("192.0.2.10/24",))])
    assert (names.addressed, names.macs) == ((MAC,), {MAC: MAC})


def test_files_that_tie_the_same_card_mean_one_interface() -> None:
    told = [Interface("lan0", mac=MAC), Interface("", mac=MAC, dynamic=True, key="uuid")]
    names = summarise([*told, Interface("vlan7", lower=("uuid",), vlan=7, dynamic=True)])
    assert names.addressed == ("lan0",)
    assert names.vlans == {"lan0": (0, 7)}
