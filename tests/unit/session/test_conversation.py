"""A control conversation: order kept, ends told once everything before was read."""

from collections.abc import Iterator

import pytest

from payload.model.errors import LinkError, PeerError, StoppedError
from payload.model.message import Alive, Final, Go, MapRequest, Message, PlanOffer, Stop
from payload.model.report import Report, Result
from payload.session import conversation as conversation_module
from payload.session.conversation import Conversation
from tests.support.paper_wires import OTHER, Wire
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def wire() -> Wire:
    return Wire(OTHER)


@pytest.fixture
def conversation(wire: Wire) -> Iterator[Conversation]:
    conversation = Conversation(wire)
    yield conversation
    conversation.close()


def test_messages_come_in_order_and_heartbeats_are_not_messages(
    wire: Wire, conversation: Conversation
) -> None:
    for message in (PlanOffer("a"), Alive(), Go()):
        wire.incoming.put(message)
    assert conversation.receive(PATIENCE) == PlanOffer("a")
    assert conversation.receive(PATIENCE) == Go()
    assert conversation.poll(0.01) is None


def test_a_broken_link_is_told_after_what_was_said_before_it(
    wire: Wire, conversation: Conversation
) -> None:
    wire.incoming.put(Go())
    wire.incoming.put(LinkError("the cable is out"))
    wait_until(lambda: conversation.ended)
    assert conversation.receive(PATIENCE) == Go()
    for _ in range(2):  # and it stays so
        with pytest.raises(LinkError, match="the cable is out"):
            conversation.receive(PATIENCE)


def test_a_stop_by_a_person_is_no_fault_of_the_peer(wire: Wire, conversation: Conversation) -> None:
    wire.incoming.put(Stop("a key was pressed.", by_person=True))
    with pytest.raises(StoppedError, match="a key was pressed"):
        conversation.receive(PATIENCE)


def test_a_stop_for_another_reason_is_a_peer_error_with_the_reason(
    wire: Wire, conversation: Conversation
) -> None:
    wire.incoming.put(Stop("the disk is too small."))
    wait_until(lambda: conversation.ended)
    with pytest.raises(PeerError, match="too small"):
        conversation.poll(1)


def test_silence_longer_than_asked_for_is_a_link_error(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, really = list[float](), conversation.poll

    def poll(timeout: float) -> Message | None:
        waits.append(timeout)
        return really(timeout)

    monkeypatch.setattr(conversation, "poll", poll)
    with pytest.raises(LinkError, match="no answer"):
        conversation.receive(0.05)
    assert waits and max(waits) <= 0.05, "nor is it waited for longer"


def test_saying_stop_to_a_dead_link_is_no_error(wire: Wire, conversation: Conversation) -> None:
    wire.closed = True
    conversation.say_stop("enough")
    assert wire.sent == []


def test_an_offer_that_was_made_before_the_end_is_still_there_to_be_read(
    wire: Wire, conversation: Conversation
) -> None:
    wire.incoming.put(PlanOffer("", refusal="too small"))
    wire.incoming.put(LinkError("gone"))
    wait_until(lambda: conversation.ended)
    assert conversation.waiting
    assert conversation.receive(PATIENCE) == PlanOffer("", refusal="too small")
    assert conversation.ended and not conversation.waiting


def test_a_peer_that_said_why_before_it_hung_up_is_heard_by_who_only_speaks(
    wire: Wire, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_module, "LAST_WORD", PATIENCE)
    wire.incoming.put(Stop("a key was pressed.", by_person=True))
    wire.closed = True
    with pytest.raises(StoppedError, match="a key was pressed"):
        conversation.send(Go())


def test_a_peer_that_hung_up_without_a_word_is_a_broken_link(
    wire: Wire, conversation: Conversation
) -> None:
    wire.incoming.put(LinkError("reset"))
    wire.closed = True
    with pytest.raises(LinkError, match="closed"):
        conversation.send(Go())


def test_a_peer_that_talks_faster_than_we_listen_has_to_wait(
    wire: Wire, conversation: Conversation
) -> None:
    """Nothing is thrown away, and no more than so many messages are kept in memory."""
    for number in range(2000):
        wire.incoming.put(MapRequest(number))
    wait_until(conversation._inbox.full)
    assert wire.incoming.qsize() > 1500
    assert [conversation.receive(PATIENCE) for _ in range(2000)] == [
        MapRequest(number) for number in range(2000)
    ]


@pytest.mark.parametrize("large", [PlanOffer("a"), Final(Report(Result.OK, "done.", 0))])
def test_a_large_message_is_said_once(
    large: Message, wire: Wire, conversation: Conversation
) -> None:
    wire.incoming.put(large)
    wire.incoming.put(large)
    assert conversation.receive(PATIENCE) == large
    with pytest.raises(PeerError, match=f"it said {type(large).__name__} twice"):
        conversation.receive(PATIENCE)
