"""One data connection of the target: ask for chunks, check what comes, write it.

Several requests are under way at once, so that neither side waits for the other's disk. The
source answers in the order it was asked; anything else ends the connection.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zstandard

from payload.model.errors import PeerError
from payload.model.message import Chunk, ChunkRequest, Encoding, Message, Stop
from payload.model.report import Hole
from payload.replicate.chunks import aligned_buffer, unpack
from payload.replicate.ledger import Item
from payload.replicate.limiter import Account
from payload.replicate.sender import Line

WINDOW = 8  # requests under way on one connection
PATIENCE = 600.0  # seconds; a source with a sick disk may need minutes for one chunk

HeldDigest = Callable[[Item, memoryview], bytes]  # what the target has there, b"" when nothing
Take = Callable[[], Item | None]  # the chunk to ask for next; None: none at the moment
Store = Callable[[Item, memoryview], None]  # write checked content


@dataclass(frozen=True)
class Asked:
    item: Item
    held: bytes


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

    def work(self, take: Take) -> None:
        """Raises LinkError, PeerError, or TargetDiskError from `store`, SourceDiskError from
        `put_off`."""
        asked: deque[Asked] = deque()
        while True:
            while len(asked) < WINDOW and (item := take()) is not None:
                asked.append(self._ask(item))
            if not asked:
                return
            with self._account.waiting():
                message = self._channel.receive(PATIENCE)
            self._take(message, asked.popleft())

    def _ask(self, item: Item) -> Asked:
        held = self._held_digest(item, self._buffer[: item.length])
        region = item.ledger.region.index
        self._channel.send(
            ChunkRequest(region, item.offset, item.length, held, thorough=item.thorough)
        )
        return Asked(item, held)

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
            f"{message.region} instead of {_place(asked)}. Nothing of it was written."
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
