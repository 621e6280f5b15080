"""Network settings of a copy that somebody wrote to do harm: read in bounded time, never torn."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from payload.finish.network.adapt import run_adapt
from payload.finish.network.cards import read_cards
from payload.formats.network.ifcfg import rewrite_ifcfg
from payload.formats.network.iftab import rewrite_tab
from payload.formats.network.interface import Assignment, prefix_length
from payload.formats.network.netplan import read_netplan
from payload.formats.network.networkd import read_link, read_network
from payload.formats.network.udev_syntax import retie_conditions
from payload.model.errors import SettingsError

OLD, HERE = "00:1a:64:6c:11:0e", "00:50:56:9a:00:11"
INFINIBAND = "80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"
DIGITS = "9" * 5000  # Python refuses to read more than 4300 as one number
ETH0 = Assignment({"eth0": HERE})


def test_an_address_of_digits_is_a_word(tmp_path: Path) -> None:
    assert prefix_length(DIGITS, "") == f"{DIGITS}/64"
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    interfaces = tmp_path / "etc/network/interfaces"
    interfaces.write_text(f"iface eth0 inet static\n address {DIGITS}")
    run_adapt(tmp_path, f'{{"nics": [{{"mac": "{HERE}"}}]}}'.encode())
    assert DIGITS in interfaces.read_text()


@pytest.mark.parametrize(
    "text",
    [
        'network: {ethernets: {eth0: {addresses: ["\\U00110000"]}}}',
        'network: {ethernets: {eth0: {addresses: ["\\UFFFFFFFF"]}}}',
        f"%YAML 1.{DIGITS}\n---\nnetwork: {{}}\n",
    ],
)
def test_what_yaml_chokes_on_is_no_netplan(text: str) -> None:
    assert read_netplan(text.encode()) == []


def test_an_address_of_infiniband_is_not_torn() -> None:
    card = Assignment({"ib0": HERE})
    ifcfg = f"DEVICE=ib0\nHWADDR={INFINIBAND}\n".encode()
    assert rewrite_ifcfg(ifcfg, "/etc/sysconfig/network-scripts/ifcfg-ib0", card) == ifcfg
    iftab = f"ib0 mac {INFINIBAND}\n".encode()
    assert rewrite_tab(iftab, "/etc/iftab", card) == iftab


def test_a_line_in_an_address_breaks_no_rule() -> None:
    with pytest.raises(SettingsError):
        read_cards(f'{{"nics": [{{"mac": "{HERE}\\n"}}]}}'.encode())


@pytest.mark.parametrize(
    "read",
    [
        lambda: rewrite_tab(f"eth0 mac {OLD}{' ' * 60_000}x\n".encode(), "/etc/iftab", ETH0),
        lambda: read_link(b"[Link]\n" + b"Name=a\n" * 200_000),
        lambda: read_network(
            b"[Match]\nName=" + b"a " * 4000 + b"\n[Network]\nVLAN=" + b"b " * 4000
        ),
        lambda: retie_conditions(f'ATTR{{address}}=="{OLD}", ' * 60_000 + "\n", {OLD: HERE}),
    ],
    ids=["iftab", "link", "network", "rule"],
)
def test_long_settings_are_read_once(read: Callable[[], object]) -> None:
    """Each of these took minutes, by the square of its length."""
    begin = time.process_time()
    read()
    assert time.process_time() - begin < 60, "a second or two; the rest is a slow machine"
