"""Beacons: only those of this session count, and what they say of the wires decides the names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.assignment import assign, lost_ways, plan_names, warnings_of_tags
from payload.model.machine import Card
from payload.model.network import Arrival, NamesInUse
from payload.wire.beacon import Beacon, beacon_key, ethernet_frame, pack_beacon, unpack_beacon

KEY = beacon_key("a", "b")
OLD = [f"00:1a:64:00:00:0{n}" for n in range(4)]
NEW = [f"00:50:56:00:00:0{n}" for n in range(4)]


def cards(macs: list[str], count: int) -> list[Card]:
    return [Card(f"c{n}", macs[n], bus=f"0000:0{n}:00.0", carrier=True) for n in range(count)]


def in_use(count: int, *addressed: str, **vlans: tuple[int, ...]) -> NamesInUse:
    return NamesInUse({f"eth{n}": OLD[n] for n in range(count)}, addressed, vlans=vlans)


def heard(*ways: str) -> tuple[Arrival, ...]:
    """ "01" for source card 0 heard by target card 1, "01/100" with a tag, "01/100>0" taken off."""
    found = []
    for way in ways:
        ends, _, tags = way.partition("/")
        sent, _, received = tags.partition(">")
        arrived = int(received or sent or 0)
        found.append(Arrival(OLD[int(ends[0])], NEW[int(ends[1])], int(sent or 0), arrived))
    return tuple(found)


def names(plan: object) -> dict[str, str]:
    return {entry.name: entry.mac[-1:] for entry in plan}  # type: ignore[attr-defined]


@given(st.binary(max_size=80))
def test_noise_is_no_beacon(noise: bytes) -> None:
    assert unpack_beacon(noise, KEY) is None
    assert unpack_beacon(pack_beacon(Beacon(OLD[0]), KEY)[:5] + noise, KEY) is None


@given(st.integers(0, 44), st.integers(1, 255))
def test_a_changed_beacon_is_none(place: int, change: int) -> None:
    payload = bytearray(pack_beacon(Beacon(OLD[0], 100), KEY))
    payload[place] ^= change
    assert unpack_beacon(bytes(payload), KEY) is None


def test_a_beacon_comes_through_with_padding_and_only_with_its_key() -> None:
    beacon = Beacon(OLD[0], 4094)
    payload = pack_beacon(beacon, KEY)
    assert unpack_beacon(payload + b"\0" * 9, KEY) == beacon
    assert unpack_beacon(payload, beacon_key("b", "a")) is None
    plain, tagged = (ethernet_frame(payload, b"\2" * 6, tag) for tag in (0, 100))
    assert (len(plain), plain[12:14]) == (60, b"\x88\xb5")
    assert tagged[12:18] == b"\x81\x00\x00\x64\x88\xb5"


def test_each_wire_decides_against_the_order_of_slots() -> None:
    plan = plan_names(in_use(3), cards(OLD, 3), (), cards(NEW, 3), heard("02", "10", "21"))
    assert names(plan) == {"eth0": "2", "eth1": "0", "eth2": "1"}
    assert plan[0].why == f"on the wire of the source's eth0 ({OLD[0]})"


def test_on_one_switch_the_order_decides_and_says_so() -> None:
    everything = heard("00", "01", "10", "11")
    plan = plan_names(in_use(2, "eth1"), cards(OLD, 2), (), cards(NEW, 2), everything)
    assert names(plan) == {"eth0": "0", "eth1": "1"}
    assert plan[0].why.endswith("as others are: by order among those")
    wire = [(OLD[0], NEW[1])]
    plan = plan_names(in_use(2, "eth1"), cards(OLD, 2), wire, cards(NEW, 2), everything)
    assert names(plan) == {"eth0": "1", "eth1": "0"}


def test_two_switches_are_not_mixed_up() -> None:
    ways = heard("00", "02", "10", "12", "21", "23", "31", "33")
    plan = plan_names(in_use(4), cards(OLD, 4), (), cards(NEW, 4), ways)
    assert names(plan) == {"eth0": "0", "eth1": "2", "eth2": "1", "eth3": "3"}


def test_who_has_a_choice_makes_room() -> None:
    plan = plan_names(in_use(2, "eth0"), cards(OLD, 2), (), cards(NEW, 2), heard("00", "01", "10"))
    assert names(plan) == {"eth0": "1", "eth1": "0"}


def test_only_tags_that_the_configuration_uses_count() -> None:
    ways = heard("00", "01", "10", "11", "01/100", "10/200", "11/7")
    known = in_use(2, "eth0", "eth1", eth0=(100,), eth1=(200,))
    assert names(plan_names(known, cards(OLD, 2), (), cards(NEW, 2), ways)) == {
        "eth0": "1",
        "eth1": "0",
    }


def test_a_tag_taken_off_is_no_way_and_is_told() -> None:
    known = in_use(1, "eth0", eth0=(0, 100))
    ways = heard("00", "00/100>0")
    plan = plan_names(known, cards(OLD, 1), (), cards(NEW, 1), ways)
    told = warnings_of_tags(plan, known, cards(OLD, 1), ways)
    assert len(told) == 1 and "VLAN 100 of the source's eth0 does not arrive" in told[0]
    assert warnings_of_tags(plan, known, cards(OLD, 1), heard("00", "00/100")) == ()
    assert warnings_of_tags(plan, known, cards(OLD, 1), ()) == (), "nothing heard says nothing"


def test_a_connection_by_way_of_a_router_is_no_wire() -> None:
    wire = [(OLD[0], NEW[0])]
    plan = plan_names(in_use(2), cards(OLD, 2), wire, cards(NEW, 2), heard("01", "10"))
    assert names(plan) == {"eth0": "1", "eth1": "0"}


def test_a_name_with_an_address_takes_the_card_of_one_without() -> None:
    known = in_use(2, "eth0")
    plan = plan_names(known, cards(OLD, 2), (), cards(NEW, 1), heard("10"))
    assert names(plan) == {"eth0": "0", "eth1": ""}


def test_a_way_without_a_card_is_lost() -> None:
    known = NamesInUse({"eth0": OLD[0], "eth1": OLD[1]}, ("eth0", "eth1"), (), {"eth1": ("a", "b")})
    plan = plan_names(known, cards(OLD, 2), (), cards(NEW, 1))
    assert lost_ways(plan, known) == ("eth1, which leads to a and to b",)
    assert lost_ways(plan_names(known, cards(OLD, 2), (), cards(NEW, 2)), known) == ()


@pytest.mark.parametrize(
    "pattern", ["pci-0000:00:00.0", "pci-0000:00:00.*", "virtio-pci-0000:00:*"]
)
def test_a_slot_means_the_card_on_its_wire(pattern: str) -> None:
    source, target = cards(OLD, 2), cards(NEW, 2)
    plan = plan_names(in_use(2), source, (), target, heard("01", "10"))
    assigned = assign(plan, in_use(2), source, target)
    assert assigned.mac_at(pattern) == NEW[1]
    assert assigned.mac_at("pci-0000:0f:00.0") == ""


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 100])), max_size=24
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.sampled_from([f"eth{n}" for n in range(4)]), unique=True, max_size=4),
)
def test_whatever_is_heard_no_card_has_two_names(
    ways: list[tuple[int, int, int]], there: int, here: int, addressed: list[str]
) -> None:
    arrivals = [Arrival(OLD[one], NEW[two], tag, tag) for one, two, tag in ways]
    known = in_use(there, *addressed)
    plan = plan_names(known, cards(OLD, there), (), cards(NEW, here), arrivals)
    given_macs = [entry.mac for entry in plan if entry.mac]
    assert len(given_macs) == len(set(given_macs)) == here or len(plan) > len(given_macs)
    assert set(given_macs) <= set(NEW[:here])
    assert len({entry.name for entry in plan}) == len(plan)
    served = [entry.name for entry in plan if entry.mac]
    if any(entry.name in addressed and not entry.mac for entry in plan):
        assert set(served) <= set(addressed), "names without an address go without first"


def test_a_bond_with_one_card_left_still_leads_where_it_led() -> None:
    """So does one of two cards of which it is not known which leads to the domain."""
    known = in_use(3, "eth0", "eth1", "eth2")
    known.ways.update(eth0=("the domain",), eth1=("the domain",), eth2=("the SAN",))
    assert lost_ways(plan_names(known, cards(OLD, 3), (), cards(NEW, 1)), known) == (
        "eth2, which leads to the SAN",
    )
    assert lost_ways(plan_names(known, (), (), ()), known) == (
        "eth0, which leads to the domain",
        "eth1, which leads to the domain",
        "eth2, which leads to the SAN",
    )
    del known.ways["eth2"]
    assert lost_ways(plan_names(known, cards(OLD, 3), (), cards(NEW, 1)), known) == ()
