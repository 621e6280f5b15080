"""One data connection of the target: ask for chunks, check what comes, write it.

Several requests are under way at once, so that neither side waits for the other's disk. The
source answers in the order it was asked; anything else ends the connection.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import zstandard

from payload.model.errors import PeerError
from payload.model.message import Chunk, ChunkRequest, Encoding, Message, Stop
from payload.model.report import Hole
from payload.replicate.chunks import aligned_buffer, unpack
from payload.replicate.ledger import Item
from payload.replicate.limiter import Account
from payload.replicate.sender import Line

WINDOW = 8  # requests under way on one connection
SLOW = 2.0  # seconds from request to answer above which fewer are enough to keep a link busy
PATIENCE = 600.0  # seconds; a source with a sick disk may need minutes for one chunk

HeldDigest = Callable[[Item, memoryview], bytes]  # what the target has there, b"" when nothing
Take = Callable[[], Item | None]  # the chunk to ask for next; None: none at the moment
Store = Callable[[Item, memoryview], None]  # write checked content


class Hand(Protocol):
    """Gives a thread its chunks, and takes back those it could not do: `work.WorkHand`."""

    def take(self, *, wait: bool) -> Item | None: ...

    def finish(self) -> None: ...

    def give_back(self, items: Iterable[Item]) -> None: ...


@dataclass
class Asked:
    """One request under way."""

    item: Item
    held: bytes = b""
    since: float = 0.0  # seconds, of the monotonic clock


class Fetcher:
    """Asks for one chunk after the other until there are none.

    `clear` is `store` for zeros; `done` hears of each chunk, `put_off` of each that the source
    could not read at once.
    """

    def __init__(
        self,
        channel: Line,
        held_digest: HeldDigest,
        store: Store,
        clear: Store,
        done: Callable[[Item, Chunk], None],
        put_off: Callable[[Item], None],
        account: Account,
    ) -> None:
        self._channel = channel
        self._held_digest = held_digest
        self._store = store
        self._clear = clear
        self._done = done
        self._put_off = put_off
        self._account = account
        self._buffer = aligned_buffer()
        self._decompressor = zstandard.ZstdDecompressor()
        self._window = WINDOW

    def work(self, hand: Hand) -> None:
        """Raises LinkError, PeerError, or TargetDiskError from `store`, SourceDiskError from
        `put_off`; what was asked for and did not come is given back before."""
        asked: deque[Asked] = deque()
        try:
            while self._ask_more(hand, asked):
                with self._account.waiting():
                    message = self._channel.receive(PATIENCE)
                self._take(message, asked[0])
                self._set_window(monotonic() - asked.popleft().since)
                hand.finish()
        finally:
            hand.give_back(one.item for one in asked)

    def _ask_more(self, hand: Hand, asked: deque[Asked]) -> bool:
        """Fill the window. False when nothing is asked and there is nothing more to ask for."""
        while len(asked) < self._window and (item := hand.take(wait=not asked)) is not None:
            asked.append(Asked(item))
            asked[-1].held = self._held_digest(item, self._buffer[: item.length])
            self._ask(asked[-1])
        return bool(asked)

    def _set_window(self, waited: float) -> None:
        """A slow link beside quick ones must not hold many chunks when the others are done."""
        slower = waited > SLOW
        self._window = max(1, self._window - 1) if slower else min(WINDOW, self._window + 1)

    def _ask(self, asked: Asked) -> None:
        item, asked.since = asked.item, monotonic()
        region = item.ledger.region.index
        self._channel.send(
            ChunkRequest(region, item.offset, item.length, asked.held, thorough=item.thorough)
        )

    def _take(self, message: Message, asked: Asked) -> None:
        """Nothing of a chunk that breaks a rule reaches the disk."""
        chunk = _expected(message, asked)
        self._account.source(chunk.spent)
        if chunk.encoding is Encoding.LATER:
            self._put_off(asked.item)
            return
        if chunk.encoding is Encoding.SAME:
            if not asked.held or chunk.digest != asked.held:
                raise PeerError(f"The source called {_place(asked)} the same, and it is not.")
        else:
            with self._account.target_processor():
                content = unpack(chunk, self._decompressor, self._buffer)
            store = self._clear if chunk.encoding is Encoding.ZERO else self._store
            store(asked.item, content)
        self._done(asked.item, chunk)


def _expected(message: Message, asked: Asked) -> Chunk:
    if isinstance(message, Stop):
        raise PeerError(f"The source stopped: {message.sentence}")
    if not isinstance(message, Chunk):
        raise PeerError(f"The source said {type(message).__name__} instead of {_place(asked)}.")
    item = asked.item
    wanted = (item.ledger.region.index, item.offset, item.length)
    if (message.region, message.offset, message.length) != wanted:
        raise PeerError(
            f"The source sent {message.length} bytes at {message.offset} of region "
            f"{message.region} instead of {_place(asked)}."
        )
    if message.encoding is Encoding.LATER and item.thorough:
        raise PeerError(f"The source put {_place(asked)} off again.")
    if any(not _inside(hole, item) for hole in message.holes):
        raise PeerError(f"The source named a hole outside of {_place(asked)}.")
    return message


def _inside(hole: Hole, item: Item) -> bool:
    end = item.offset + item.length
    return item.offset <= hole.offset < end and 0 < hole.length <= end - hole.offset


def _place(asked: Asked) -> str:
    item = asked.item
    return f"{item.ledger.region.name}, {item.length} bytes at {item.offset}"
