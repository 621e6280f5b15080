"""What is heard by multicast DNS on one card, and what of it counts. No packet is sent here."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroconf import RecordUpdate, ServiceInfo
from zeroconf._dns import DNSAddress, DNSText  # the package does not export them

from payload.model.announcement import Announcement, Claim
from payload.model.errors import ToolError
from payload.system import mdns
from payload.system.mdns import (
    FAREWELL,
    LIFETIME,
    SERVICE,
    SIGHTINGS_LIMIT,
    Mdns,
    Neighbourhood,
    Saying,
    Sighting,
)

TXT, IN = 16, 1  # RFC 1035, 3.2.2 and 3.2.4
SAYING = Saying("box.7777 eth0", 10000, {"id": b"7", "binary": b"\x00\xff"})


class Wire:
    """An instance of zeroconf that sends nothing."""

    def __init__(self) -> None:
        self.said: list[ServiceInfo] = []
        self.listeners: list[object] = []
        self.closed = 0
        self.breaks = False

    def add_listener(self, listener: object, question: object) -> None:
        self.listeners.append(listener)

    def register_service(self, info: ServiceInfo, *, cooperating_responders: bool) -> None:
        if self.breaks:
            raise OSError(19, "No such device")
        assert cooperating_responders
        self.said.append(info)

    def generate_service_broadcast(self, info: ServiceInfo, ttl: object) -> ServiceInfo:
        return info

    def send(self, info: ServiceInfo) -> None:
        self.said.append(info)

    def close(self) -> None:
        self.closed += 1


class Ear:
    """A neighbourhood that a test speaks to, in the time that it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.wire = Wire()
        monkeypatch.setattr(mdns, "_open", lambda *_: self.wire)
        monkeypatch.setattr(mdns, "time", SimpleNamespace(monotonic=lambda: self.now))

    def join(self) -> Neighbourhood:
        return Mdns().join("eth0", ("192.0.2.7", "fe80::1"), SAYING, judge)


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    return Ear(monkeypatch)


def judge(text: bytes) -> Claim | None:
    """Of our site is who says "ours" and a name."""
    word, _, name = text.partition(b" ")
    if word != b"ours":
        return None
    told = name.decode("latin-1")
    return Claim(Announcement(told, "source", told, 10000, 2), ("fe80::9",))


def record(text: bytes, ttl: int = 60, name: str = "x." + SERVICE) -> RecordUpdate:
    return RecordUpdate(DNSText(name, TXT, IN, ttl, text), None)


def hear(neighbourhood: Neighbourhood, *updates: RecordUpdate) -> None:
    unused: Any = None
    neighbourhood.async_update_records(unused, 0.0, list(updates))


def names(neighbourhood: Neighbourhood) -> list[str]:
    return [sighting.announcement.machine_id for sighting in neighbourhood.sightings()]


def test_what_is_said_has_the_card_s_addresses_and_our_words(ear: Ear) -> None:
    neighbourhood = ear.join()
    assert ear.wire.listeners == [neighbourhood]
    (info,) = ear.wire.said
    assert info.name == f"box-7777 eth0.{SERVICE}", "a dot would begin another label"
    assert (info.port, info.properties) == (10000, {b"id": b"7", b"binary": b"\x00\xff"})
    assert sorted(info.parsed_addresses()) == ["192.0.2.7", "fe80::1"]
    neighbourhood.close()
    assert ear.wire.closed == 1


def test_a_card_that_is_gone_is_a_tool_error(monkeypatch: pytest.MonkeyPatch, ear: Ear) -> None:
    ear.wire.breaks = True
    with pytest.raises(ToolError, match=r"No multicast DNS on eth0: .*No such device"):
        ear.join()
    assert ear.wire.closed == 1

    def no_socket(*_: object) -> None:
        raise RuntimeError("no adapter")

    monkeypatch.setattr(mdns, "_open", no_socket)
    with pytest.raises(ToolError, match="No multicast DNS on eth0: no adapter"):
        ear.join()


def test_who_was_heard_last_comes_first(ear: Ear) -> None:
    neighbourhood = ear.join()
    hear(neighbourhood, record(b"ours a"), record(b"ours b"), record(b"ours c"))
    assert names(neighbourhood) == ["c", "b", "a"]
    hear(neighbourhood, record(b"ours a"))
    assert names(neighbourhood) == ["a", "c", "b"]
    first = neighbourhood.sightings()[0]
    assert (first.card, first.addresses) == ("eth0", ("fe80::9",))
    assert isinstance(first, Sighting) and not neighbourhood.hears_strangers()


def test_a_word_is_good_for_a_while(ear: Ear) -> None:
    neighbourhood = ear.join()
    hear(neighbourhood, record(b"ours a"))
    ear.now += LIFETIME - 1
    hear(neighbourhood, record(b"ours b"))
    assert names(neighbourhood) == ["b", "a"]
    ear.now += 1
    assert names(neighbourhood) == ["b"]


def test_a_goodbye_shortens_the_time_and_never_lengthens_it(ear: Ear) -> None:
    """A stranger can say it, too, and the machine goes on."""
    neighbourhood = ear.join()
    hear(neighbourhood, record(b"ours a"), record(b"ours a", ttl=0))
    ear.now += FAREWELL - 1
    assert names(neighbourhood) == ["a"]
    hear(neighbourhood, record(b"ours a", ttl=0))
    ear.now += 1
    assert names(neighbourhood) == []
    hear(neighbourhood, record(b"ours a"))
    assert names(neighbourhood) == ["a"]


def test_a_goodbye_of_who_was_never_heard_is_no_sighting(ear: Ear) -> None:
    neighbourhood = ear.join()
    hear(neighbourhood, record(b"ours a", ttl=0))
    assert names(neighbourhood) == []


def test_a_stranger_who_uses_our_service_s_name_is_noticed_for_a_while(ear: Ear) -> None:
    neighbourhood = ear.join()
    assert not neighbourhood.hears_strangers()
    hear(neighbourhood, record(b"theirs"))
    assert neighbourhood.hears_strangers() and names(neighbourhood) == []
    ear.now += LIFETIME
    assert not neighbourhood.hears_strangers()


def test_other_services_and_other_records_say_nothing(ear: Ear) -> None:
    neighbourhood = ear.join()
    address = DNSAddress("x." + SERVICE, 1, IN, 60, b"\xc0\x00\x02\x01")
    hear(neighbourhood, record(b"ours a", name="x._http._tcp.local."), RecordUpdate(address, None))
    assert names(neighbourhood) == [] and not neighbourhood.hears_strangers()
    hear(neighbourhood, record(b"ours b", name="X." + SERVICE.upper()))
    assert names(neighbourhood) == ["b"], "names of DNS have no case (RFC 1035, 2.3.3)"


def test_many_machines_take_little_room_and_the_newest_stay(ear: Ear) -> None:
    neighbourhood = ear.join()
    count = SIGHTINGS_LIMIT + 5
    hear(neighbourhood, *(record(b"ours %d" % number) for number in range(count)))
    wanted = [str(number) for number in reversed(range(5, count))]
    assert names(neighbourhood) == wanted


def test_strangers_take_no_room_from_ours(ear: Ear) -> None:
    neighbourhood = ear.join()
    hear(neighbourhood, record(b"ours a"))
    hear(neighbourhood, *(record(b"theirs %d" % number) for number in range(1000)))
    assert names(neighbourhood) == ["a"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=20) | st.sampled_from([b"ours a", b"ours b"]), st.integers(0, 120)
        ),
        max_size=20,
    )
)
def test_whatever_is_heard_only_what_was_judged_ours_is_told(
    ear: Ear, heard: list[tuple[bytes, int]]
) -> None:
    neighbourhood = ear.join()
    hear(neighbourhood, *(record(text, ttl) for text, ttl in heard))
    assert set(names(neighbourhood)) == {
        text[5:].decode("latin-1") for text, ttl in heard if judge(text) and ttl
    }
    neighbourhood.close()
