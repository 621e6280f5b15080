"""The document that lists a machine's network cards, as people and programs write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.finish.network.cards import Cards, read_cards
from payload.model.errors import SettingsError
from payload.model.machine import Card

HERE, OTHER, OLD = "00:50:56:9a:00:11", "00:50:56:9a:00:22", "00:1a:64:6c:11:0e"
NICS = [{"mac": HERE}, {"mac": OTHER, "bus": "0000:03:00.0"}]


def document(**told: object) -> bytes:
    return json.dumps({"nics": NICS} | told).encode()


def test_the_list_alone_leaves_the_names_to_be_decided() -> None:
    cards = (Card("", HERE), Card("0000:03:00.0", OTHER, bus="0000:03:00.0"))
    assert read_cards(document()) == Cards(cards, None)
    assert read_cards(b'{"nics": []}') == Cards(())


def test_everything_that_a_document_may_tell() -> None:
    nic = {"mac": HERE.upper(), "driver": "e1000", "pci": "0x8086:0x100f", "bus": "0000:02:00.0"}
    told = read_cards(
        document(
            nics=[nic | {"name": "ens1"}],
            assign={"eth0": HERE.upper()},
            path="/etc/udev/rules.d/70-persistent-net.rules",
            source=[{"mac": OLD.upper(), "name": "eth0"}],
            pairs=[[OLD.upper(), HERE.upper()]],
        )
    )
    card = Card("ens1", HERE, "e1000", "0x8086:0x100f", "0000:02:00.0")
    assert told == Cards(
        (card,),
        {"eth0": HERE},
        "/etc/udev/rules.d/70-persistent-net.rules",
        (Card("eth0", OLD),),
        ((OLD, HERE),),
    )


def test_a_card_that_the_configuration_knows_by_its_mac_may_be_assigned() -> None:
    assert read_cards(document(assign={OLD: HERE})).assign == {OLD: HERE}


def test_nothing_assigned_is_not_the_same_as_nothing_said() -> None:
    assert read_cards(document(assign={})).assign == {}
    assert read_cards(document(assign=None)).assign is None


def test_what_is_not_known_is_left_out() -> None:
    assert read_cards(document(note="a sample")) == read_cards(document())


@pytest.mark.parametrize(
    "told",
    [
        {"nics": None},
        {"nics": [{}]},
        {"nics": [{"mac": "00-50-56-9a-00-11"}]},
        {"nics": [{"mac": f"{HERE}:00"}]},
        {"nics": [{"mac": HERE, "name": "x\ny"}]},
        {"nics": [{"mac": HERE, "pci": "\0"}]},
        {"nics": [{"mac": HERE, "driver": "x" * 257}]},
        {"path": "/etc\n/x"},
        {"source": [{"mac": "x"}]},
        {"pairs": [[OLD]]},
        {"pairs": [[OLD, HERE, HERE]]},
        {"pairs": [[OLD, "x"]]},
        {"assign": {"eth0": "x"}},
        {"assign": ["eth0"]},
    ],
)
def test_a_value_of_another_form_is_told_before_anything_changes(told: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"The list of cards is .*Nothing was changed"):
        read_cards(document(**told))


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"source": [{"mac": OLD}, {"mac": OLD.upper()}]}, "names one MAC address twice"),
        ({"assign": {"": HERE}}, "'' is no name for a network card"),
        ({"assign": {"a" * 16: HERE}}, "is no name for a network card"),
        ({"assign": {"../x": HERE}}, "is no name for a network card"),
        ({"assign": {"eth0": OLD}}, f"eth0 is assigned to {OLD}, which no listed card has"),
        ({"assign": {"eth0": HERE, "eth1": HERE.upper()}}, "Two names are assigned to one card"),
    ],
)
def test_a_contradiction_is_told_in_a_sentence(told: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read_cards(document(**told))


@given(st.binary(max_size=60))
def test_noise_is_no_list_of_cards(noise: bytes) -> None:
    with pytest.raises(SettingsError):
        read_cards(b"?" + noise)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([HERE, OLD]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["nics", "mac", "assign", "pairs", "source", "path", "eth0", "bus"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_document_is_cards_that_can_be_told_apart_or_an_error(told: object) -> None:
    try:
        found = read_cards(json.dumps(told).encode())
    except SettingsError:
        return
    macs = [card.mac for card in found.cards]
    assert len(set(macs)) == len(macs)
    assert set((found.assign or {}).values()) <= set(macs)


@pytest.mark.parametrize("sign", [b"[", b'{"nics":'])
def test_a_document_too_deep_to_read_is_told(sign: bytes) -> None:
    with pytest.raises(SettingsError, match="Nothing was changed"):
        read_cards(sign * 100_000)
