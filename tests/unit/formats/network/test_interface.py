"""What all ways of configuring network cards share: MACs, lines, addresses, assignments."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.formats.network.interface import (
    INTERFACE_NAME,
    Assignment,
    is_mac,
    like,
    lines_in,
    lines_of,
    prefix_length,
    replace_macs,
    to_bytes,
    with_colons,
)
from payload.model.machine import Card

OLD, HERE = "00:1a:64:6c:11:0e", "52:54:00:9a:00:1c"
OTHER = "00:1a:64:6c:11:0f"
CARD = Card("ens1", HERE)
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))


# --- MAC addresses


@pytest.mark.parametrize("mac", [OLD, OLD.upper(), "00:1a:64:6C:11:0e"])
def test_six_octets_with_colons_are_a_mac(mac: str) -> None:
    assert is_mac(mac)


@pytest.mark.parametrize(
    "text",
    [
        "",
        OLD[:-1],
        f"{OLD}:00",
        f"{OLD}0",
        f" {OLD}",
        f"{OLD}\n",
        "00-1a-64-6c-11-0e",
        "0g" + OLD[2:],
    ],
)
def test_all_else_is_no_mac(text: str) -> None:
    assert not is_mac(text)


@pytest.mark.parametrize(
    ("old", "written"),
    [
        (OLD, HERE),
        (OLD.upper(), HERE.upper()),
        ("00-1a-64-6c-11-0e", "52-54-00-9a-00-1c"),
        ("00-1A-64-6C-11-0E", "52-54-00-9A-00-1C"),
        ("001a.646c.110e", "5254.009a.001c"),
        ("001A.646C.110E", "5254.009A.001C"),
        ("00:11:22:33:44:55", HERE),  # digits alone have no case
        ("00:1a:64:6C:11:0e", HERE),  # neither has a mixture
    ],
)
def test_a_mac_is_written_as_the_one_it_replaces(old: str, written: str) -> None:
    assert like(old, HERE) == written
    assert with_colons(written) == HERE


@given(MACS, MACS, st.sampled_from([str.lower, str.upper]), st.sampled_from(":-."))
def test_every_form_means_the_same_mac(
    old: str, new: str, case: Callable[[str], str], sign: str
) -> None:
    form = case(like(sign, old))
    assert with_colons(form) == old
    assert replace_macs(f"x={form};", {old: new}) == f"x={like(form, new)};"


@pytest.mark.parametrize(
    "text",
    [
        f"{OLD}:00",
        f"80:00:00:48:{OLD}",
        f"a{OLD}",
        f"{OLD}f",
        # The 20 bytes of an InfiniBand card.
        f"80:00:00:48:fe:80:00:00:00:00:00:00:f4:52:{OLD}",
        OTHER,
        "001a:646c:110e",
    ],
)
def test_a_part_of_a_longer_address_and_an_unknown_mac_stay(text: str) -> None:
    assert replace_macs(text, {OLD: HERE}) == text


def test_each_mac_of_a_text_is_replaced_by_its_own() -> None:
    text = f"{OLD} {OTHER.upper()},001a.646c.110e"
    macs = {OLD: HERE, OTHER: OLD}
    assert replace_macs(text, macs) == f"{HERE} {OLD.upper()},5254.009a.001c"


@given(st.text("0123456789abcdefABCDEF:-. \n", max_size=60))
def test_without_replacements_any_text_stays(text: str) -> None:
    assert replace_macs(text, {}) == text
    assert replace_macs(text, {OLD: OLD}) == text


@pytest.mark.parametrize("piece", ["00:", "0", "00-", "0000.", OLD, "::"])
def test_a_long_text_is_searched_in_its_length(piece: str) -> None:
    text = piece * (1_000_000 // len(piece)) + "x"
    assert len(replace_macs(text, {OLD: HERE})) == len(text)


# --- names and lines


@pytest.mark.parametrize("name", ["eth0", "enp3s0f1", "bond0.100", "p1p1_1", "0", "a" * 15])
def test_a_name_the_kernel_takes(name: str) -> None:
    assert INTERFACE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "a" * 16, "eth 0", "eth0\n", "../x", ".", "-x", 'e"', "*", "eth/0", "\xe4"]
)
def test_what_is_no_name_in_a_file_of_names(name: str) -> None:
    """IFNAMSIZ, include/uapi/linux/if.h: 15 letters and a zero."""
    assert not INTERFACE_NAME.fullmatch(name)


@given(st.binary(max_size=200))
def test_every_byte_is_kept_and_only_a_newline_ends_a_line(content: bytes) -> None:
    lines = lines_of(content)
    assert to_bytes(lines) == content
    assert all(line.find("\n") in (-1, len(line) - 1) for line in lines)
    assert len(lines) == content.count(b"\n") + (content[-1:] not in (b"", b"\n"))


def test_other_signs_of_a_line_end_are_letters() -> None:
    assert lines_in("a\r\nb\rc\x85d\x0ce\n\nf") == ["a\r\n", "b\rc\x85d\x0ce\n", "\n", "f"]
    assert lines_in("") == []


# --- addresses


@pytest.mark.parametrize(
    ("address", "mask", "told"),
    [
        ("192.0.2.7", "255.255.255.0", "192.0.2.7/255.255.255.0"),
        ("192.0.2.7", "26", "192.0.2.7/26"),
        ("192.0.2.7/25", "24", "192.0.2.7/25"),
        ("10.0.0.1", "", "10.0.0.1/8"),
        ("127.0.0.1", "", "127.0.0.1/8"),
        ("128.0.0.1", "", "128.0.0.1/16"),
        ("191.255.0.1", "", "191.255.0.1/16"),
        ("192.0.0.1", "", "192.0.0.1/24"),
        ("2001:db8::1", "", "2001:db8::1/64"),
        ("2001:db8::1", "48", "2001:db8::1/48"),
        ("", "", ""),
        ("", "24", ""),
    ],
)
def test_an_address_gets_its_mask_or_that_of_its_class(address: str, mask: str, told: str) -> None:
    assert prefix_length(address, mask) == told


# --- what stands for what


def test_a_name_goes_before_a_mac() -> None:
    assigned = Assignment({"eth0": HERE}, macs={OLD: OTHER})
    assert assigned.mac_for("eth0", OLD) == HERE
    assert assigned.mac_for("eth1", OLD) == OTHER
    assert assigned.mac_for("eth1", HERE) == ""


def test_the_mac_of_a_card_here_stays_unless_its_name_is_given_to_another() -> None:
    """Cards were moved over from the server: what asks for one means that very card."""
    assigned = Assignment({"eth0": HERE}, [Card("ens2", OLD)], macs={OLD: HERE})
    assert assigned.mac_for("eth1", OLD) == ""
    assert assigned.mac_for("eth0", OLD) == HERE
    assert assigned.replacements == {}


def test_a_name_without_a_card_changes_nothing() -> None:
    assigned = Assignment({"eth0": ""})
    assert (assigned.mac_for("eth0", OLD), assigned.interfaces) == ("", {})


def test_a_card_known_by_its_mac_is_no_name() -> None:
    assigned = Assignment({"eth0": HERE, OLD: OTHER, OTHER.upper(): HERE, "eth1": ""})
    assert assigned.interfaces == {"eth0": HERE}
    assert assigned.mac_for(OLD, "") == OTHER


def test_replacements_are_for_the_cards_that_have_a_counterpart() -> None:
    assert Assignment({}, [CARD], macs={OLD: HERE, OTHER: ""}).replacements == {OLD: HERE}


@pytest.mark.parametrize(
    ("pattern", "mac"),
    [
        ("pci-0000:03:00.0", HERE),
        ("virtio-pci-0000:03:00.0", HERE),
        ("pci-0000:03:00.0-*", HERE),
        ("pci-0000:03:*", HERE),
        ("*", HERE),
        ("pci-0000:04:00.0", OTHER),
        ("pci-0000:05:00.0", ""),
        ("pci-0000:03:00.0-usb-0:1:1.0", ""),
        ("0000:03:00.0", ""),
        ("pci-", ""),
        ("", ""),
    ],
)
def test_a_path_means_the_card_whose_slot_it_matches(pattern: str, mac: str) -> None:
    slots = {"": "never", "0000:03:00.0": HERE, "0000:04:00.0": OTHER}
    assert Assignment({}, slots=slots).mac_at(pattern) == mac
