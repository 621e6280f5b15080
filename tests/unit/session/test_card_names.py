"""Names that will have no card are known before the first write, on both machines alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from payload.model.errors import PlanError
from payload.model.machine import Card
from payload.model.network import Arrival, NamesInUse
from payload.model.role import Role
from payload.model.survey import Survey
from payload.session.card_names import check_names, tags_of
from payload.session.context import Context
from tests.support.meetings import SOURCE, TARGET, meeting

OLD = [Card(f"enp{n}s0", f"00:1a:64:00:00:0{n}", bus=f"0000:0{n}:00.0") for n in range(3)]
NEW = [Card(f"enp{n}s0", f"00:50:56:00:00:0{n}", bus=f"0000:0{n}:00.0") for n in range(3)]
SAN = "the SAN (10.0.0.1)"
NAMES = NamesInUse(
    {f"eth{n}": card.mac for n, card in enumerate(OLD[:2])},
    addressed=("eth0", "eth1"),
    ways={"eth1": (SAN,)},
    vlans={"eth0": (0, 10), "eth1": (20,)},
)
BOTH = pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])


@contextmanager
def connected(role: Role, source_end: Card, target_end: Card, count: int = 1) -> Iterator[Context]:
    """One of both machines: two cards in the source, `count` in the target, one wire between."""
    source = replace(SOURCE, cards=tuple(OLD[:2]))
    target = replace(TARGET, cards=tuple(NEW[:count]))
    with meeting(role, ()) as context:
        is_source = role is Role.SOURCE
        context.inventory, other = (source, target) if is_source else (target, source)
        ends = (source_end.mac, target_end.mac) if is_source else (target_end.mac, source_end.mac)
        context.link.card = ends[0]
        context.peer = replace(context.other, inventory=other, card=ends[1])
        yield context


@BOTH
def test_a_configuration_that_could_not_be_read_warns_of_nothing(role: Role) -> None:
    with connected(role, OLD[0], NEW[0]) as context:
        assert check_names(context, Survey(network=None)) == ()


@BOTH
def test_the_wire_of_the_copy_goes_to_the_name_of_the_source_s_end(role: Role) -> None:
    """The target's only card is on the wire of eth1, which leads to the storage."""
    with connected(role, OLD[1], NEW[0]) as context:
        (warning,) = check_names(context, Survey(network=NAMES))
    assert warning.startswith("eth0 has no card on this machine") and "address" in warning


@BOTH
def test_a_name_that_leads_to_the_storage_must_have_a_card(role: Role) -> None:
    """The same card, on the wire of the other name."""
    with connected(role, OLD[0], NEW[0]) as context:
        label = TARGET.machine.label
        with pytest.raises(PlanError, match=r"for eth1, which leads to the SAN") as caught:
            check_names(context, Survey(network=NAMES))
    assert label in str(caught.value) and "Put in another network card" in str(caught.value)


@BOTH
def test_beacons_tell_of_wires_that_the_copy_does_not_use(role: Role) -> None:
    """The copy comes over a card without a name; only a beacon says which wire that is as well."""
    with connected(role, OLD[2], NEW[0]) as context:
        with pytest.raises(PlanError, match="eth1"):
            check_names(context, Survey(network=NAMES))
        heard = (Arrival(OLD[1].mac, NEW[0].mac),)
        (warning,) = check_names(context, Survey(network=NAMES), heard)
    assert warning.startswith("eth0 has no card")


@BOTH
def test_enough_cards_are_worth_no_word(role: Role) -> None:
    with connected(role, OLD[0], NEW[0], count=2) as context:
        assert check_names(context, Survey(network=NAMES)) == ()


def test_the_tags_of_a_card_are_those_of_its_name() -> None:
    with connected(Role.SOURCE, OLD[0], NEW[0]) as context:
        context.survey = Survey(network=NAMES)
        assert [tags_of(card, context) for card in OLD[:2]] == [(0, 10), (20,)]


def test_a_card_without_a_name_may_carry_any_tag() -> None:
    with connected(Role.SOURCE, OLD[0], NEW[0]) as context:
        context.survey = Survey(network=NAMES)
        assert tags_of(OLD[2], context) == (0, 10, 20)


def test_a_named_card_without_vlans_has_no_tags() -> None:
    with connected(Role.SOURCE, OLD[0], NEW[0]) as context:
        context.survey = Survey(network=replace(NAMES, vlans={"eth1": (20,)}))
        assert tags_of(OLD[0], context) == ()


@pytest.mark.parametrize("survey", [None, Survey(network=None)])
def test_without_a_survey_no_tag_is_known(survey: Survey | None) -> None:
    with connected(Role.SOURCE, OLD[0], NEW[0]) as context:
        context.survey = survey
        assert tags_of(OLD[0], context) == ()
