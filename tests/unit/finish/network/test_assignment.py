"""Which card gets which name: by wire first, then by importance, link and slot."""

from pathlib import Path

from payload.finish.network.assignment import plan_names, warnings_of
from payload.finish.network.destinations import read_names
from payload.model.machine import Card
from payload.model.network import NamesInUse
from payload.model.report import CardName

OLD = [f"00:1a:64:00:00:0{n}" for n in range(4)]
NEW = [f"00:50:56:00:00:0{n}" for n in range(4)]


def cards(macs: list[str], count: int, linked: tuple[int, ...] = ()) -> list[Card]:
    return [
        Card(f"enp{n}s0", macs[n], "e1000", "0x8086:0x100f", f"0000:0{n}:00.0", carrier=n in linked)
        for n in range(count)
    ]


def in_use(count: int, *addressed: str) -> NamesInUse:
    return NamesInUse({f"eth{n}": OLD[n] for n in range(count)}, addressed)


def by_name(plan: tuple[CardName, ...]) -> dict[str, str]:
    return {entry.name: entry.mac for entry in plan}


def test_the_wire_decides_against_the_order_of_slots() -> None:
    plan = plan_names(in_use(2, "eth0"), cards(OLD, 2), [(OLD[0], NEW[1])], cards(NEW, 2))
    assert by_name(plan) == {"eth0": NEW[1], "eth1": NEW[0]}
    assert "the copy came over it" in plan[0].why


def test_a_card_with_a_link_comes_before_one_without() -> None:
    plan = plan_names(in_use(2, "eth1"), cards(OLD, 2), [], cards(NEW, 2, linked=(1,)))
    assert by_name(plan) == {"eth0": NEW[0], "eth1": NEW[1]}
    plan = plan_names(in_use(2, "eth0"), cards(OLD, 2), [], cards(NEW, 2, linked=(1,)))
    assert by_name(plan) == {"eth0": NEW[1], "eth1": NEW[0]}


def test_slots_go_to_numbers_where_all_is_equal() -> None:
    shuffled = [cards(NEW, 3)[n] for n in (2, 0, 1)]
    plan = plan_names(in_use(3), cards(OLD, 3), [], shuffled)
    assert by_name(plan) == {"eth0": NEW[0], "eth1": NEW[1], "eth2": NEW[2]}


def test_with_fewer_cards_the_names_with_an_address_are_served() -> None:
    names = in_use(3, "eth2", "eth0")
    plan = plan_names(names, cards(OLD, 3), [], cards(NEW, 2))
    assert by_name(plan) == {"eth0": NEW[0], "eth1": "", "eth2": NEW[1]}
    assert [warning.split(" card")[0] for warning in warnings_of(plan, names)] == ["eth1 has no"]
    plan = plan_names(names, cards(OLD, 3), [], cards(NEW, 1))
    assert by_name(plan) == {"eth0": "", "eth1": "", "eth2": NEW[0]}
    assert "although it carries an address" in warnings_of(plan, names)[0]


def test_more_cards_count_on_from_the_highest_number() -> None:
    names = NamesInUse({"eth0": OLD[0], "eth2": OLD[1]}, ("eth0",))
    plan = plan_names(names, cards(OLD, 2), [], cards(NEW, 4))
    assert by_name(plan) == {"eth0": NEW[0], "eth2": NEW[1], "eth3": NEW[2], "eth4": NEW[3]}


def test_a_rule_for_a_card_long_gone_wants_nothing() -> None:
    plan = plan_names(in_use(3, "eth1"), cards(OLD, 2), [], cards(NEW, 2))
    assert sorted(by_name(plan)) == ["eth0", "eth1"]


def test_a_copy_booted_once_does_not_keep_the_name_udev_made_up() -> None:
    names = NamesInUse({"eth0": OLD[0], "eth1": NEW[0]}, ("eth0",))
    plan = plan_names(names, (), [], cards(NEW, 1))
    assert by_name(plan)["eth0"] == NEW[0]


def test_cards_that_kept_their_mac_keep_their_names() -> None:
    same = cards(OLD, 2)
    names = NamesInUse({"eth0": OLD[1], "eth1": OLD[0]}, ("eth0",))
    assert by_name(plan_names(names, same, [], same)) == {"eth0": OLD[1], "eth1": OLD[0]}
    assert by_name(plan_names(names, (), [], same)) == {"eth0": OLD[1], "eth1": OLD[0]}


def test_without_rules_the_one_name_with_an_address_goes_by_wire() -> None:
    names = NamesInUse({}, ("eth0",))
    source = cards(OLD, 2, linked=(1,))
    plan = plan_names(names, source, [(OLD[1], NEW[1])], cards(NEW, 2))
    assert by_name(plan) == {"eth0": NEW[1], "eth1": NEW[0]}


def test_predictable_names_are_known_by_the_live_kernel() -> None:
    names = NamesInUse({}, ("enp1s0",))
    plan = plan_names(names, cards(OLD, 2), [(OLD[1], NEW[0])], cards(NEW, 1))
    assert by_name(plan) == {"enp1s0": NEW[0]}


def test_a_spare_card_gives_up_a_wanted_predictable_name() -> None:
    names = NamesInUse({}, ("enp1s0",))
    plan = plan_names(names, cards(OLD, 2), [(OLD[1], NEW[0])], cards(NEW, 3))
    assert by_name(plan) == {"enp1s0": NEW[0], "spare0": NEW[1]}


def test_names_are_read_from_all_places_below_the_root(tmp_path: Path) -> None:
    rules = tmp_path / "etc/udev/rules.d"
    rules.mkdir(parents=True)
    (rules / "70-persistent-net.rules").write_text(
        f'SUBSYSTEM=="net", ATTR{{address}}=="{OLD[0].upper()}", NAME="eth0"\n'
    )
    (rules / "z25_persistent-net.rules").symlink_to("70-persistent-net.rules")
    (tmp_path / "etc/network/interfaces.d").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_text("auto eth0\n")
    (tmp_path / "etc/network/interfaces.d/wan").write_text("iface eth1 inet dhcp\n")
    found = read_names(tmp_path)
    assert found.macs == {"eth0": OLD[0]}
    assert (found.addressed, found.configured) == (("eth1",), ("eth0",))


def test_a_card_on_usb_comes_last_though_it_has_a_link() -> None:
    management = Card(
        "usb0", NEW[3], "cdc_ether", bus="0000:00:01.0", modalias="usb:v04B3", carrier=True
    )
    plan = plan_names(in_use(2, "eth0", "eth1"), cards(OLD, 2), [], [management, *cards(NEW, 2)])
    assert by_name(plan) == {"eth0": NEW[0], "eth1": NEW[1], "eth2": NEW[3]}


def test_a_card_that_is_not_ethernet_gets_no_name() -> None:
    other = Card("ib0", "80:00:02:08:" + NEW[0] + ":" + OLD[0], carrier=True)
    plan = plan_names(in_use(2, "eth0"), [*cards(OLD, 1), other], [], [other, *cards(NEW, 1)])
    assert by_name(plan) == {"eth0": NEW[0]}
