"""Sightings become candidates: one per machine, the surest address first."""

from hypothesis import given
from hypothesis import strategies as st

from payload.connect.discovery import (
    ADDRESSES_LIMIT,
    Address,
    Candidate,
    announced_addresses,
    fixed_candidate,
    merge,
)
from payload.model.announcement import Announcement
from payload.model.settings import Settings
from payload.system.mdns import Sighting

OWN = Announcement("7" * 32, "target", "standby", 10000, 1)
SOURCE = Announcement("5" * 32, "source", "groupware", 10000, 1)


def test_one_machine_on_two_cards_is_one_candidate() -> None:
    sightings = [
        Sighting(SOURCE, "eth0", ("169.254.1.1", "2001:db8::1", "fe80::1")),
        Sighting(SOURCE, "eth1", ("fe80::2",)),
    ]
    assert merge(sightings, OWN, {"eth0": 100, "eth1": 10000}) == (
        Candidate(
            SOURCE.machine_id,
            "source",
            "groupware",
            (
                Address("fe80::2", 10000, "eth1"),
                Address("fe80::1", 10000, "eth0"),
                Address("2001:db8::1", 10000, "eth0"),
                Address("169.254.1.1", 10000, "eth0"),
            ),
        ),
    )


def test_ourselves_and_the_nameless_are_left_out() -> None:
    nameless = Announcement("", "source", "", 10000, 1)
    sightings = [Sighting(OWN, "eth1", ("fe80::3",)), Sighting(nameless, "eth0", ("fe80::4",))]
    assert merge(sightings, OWN, {}) == ()


def test_only_what_no_router_or_server_can_change_is_announced() -> None:
    mixed = ["2001:db8::1", "192.0.2.7", "fe80::1", "169.254.3.4"]
    assert announced_addresses(mixed) == {
        "ipv6": ("fe80::1",),
        "ipv4": ("169.254.3.4", "192.0.2.7"),
    }
    assert announced_addresses(["2001:db8::1"]) == {"ipv6": ("2001:db8::1",), "ipv4": ()}
    assert announced_addresses([]) == {"ipv6": (), "ipv4": ()}


@given(
    st.lists(
        st.builds(
            Sighting,
            st.builds(
                Announcement,
                st.sampled_from(["", "5" * 32, OWN.machine_id, "x"]),
                st.text(max_size=3),
                st.text(max_size=3),
                st.integers(1, 65535),
                st.integers(),
            ),
            st.sampled_from(["eth0", "eth1"]),
            st.lists(st.ip_addresses().map(str), max_size=8).map(tuple),
        ),
        max_size=12,
    )
)
def test_any_hearsay_gives_few_distinct_addresses(sightings: list[Sighting]) -> None:
    candidates = merge(sightings, OWN, {"eth0": 1000})
    assert len({one.machine_id for one in candidates}) == len(candidates)
    for one in candidates:
        assert one.machine_id not in ("", OWN.machine_id)
        assert len(set(one.addresses)) == len(one.addresses) <= ADDRESSES_LIMIT


def test_named_peer() -> None:
    assert fixed_candidate(Settings()) is None
    routed = fixed_candidate(Settings(peer="2001:db8::5", port=4711))
    assert routed is not None and routed.addresses == (Address("2001:db8::5", 4711),)
    near = fixed_candidate(Settings(peer="fe80::5%eth1"))
    assert near is not None and str(near.addresses[0]) == "fe80::5%eth1"
    assert near.addresses[0].is_link_local and not routed.addresses[0].is_link_local
