"""What is handed from writers to the reader: never too much, never after the end."""

import threading

from payload.model.plan import CHUNK_SIZE, Method, Region
from payload.replicate.backlog import BATCH, LIMIT, Backlog
from payload.replicate.ledger import Item, Ledger

LEDGER = Ledger(Region(0, 0, 1, 0, CHUNK_SIZE, Method.ALL), 512)


def items(count: int) -> list[Item]:
    return [Item(LEDGER, index, index * CHUNK_SIZE, CHUNK_SIZE) for index in range(count)]


def test_a_batch_is_taken_in_the_order_of_writing() -> None:
    backlog = Backlog()
    backlog.join()
    wanted = items(BATCH)
    for item in wanted:
        backlog.add(item)
    assert backlog.take() == wanted


def test_the_reader_waits_for_a_batch_and_no_longer_than_writers_write() -> None:
    backlog = Backlog()
    backlog.join()
    backlog.join()
    taken: list[list[Item]] = []
    reader = threading.Thread(target=lambda: taken.append(backlog.take()))
    reader.start()
    backlog.add(items(1)[0])
    backlog.leave()
    reader.join(0.1)
    assert reader.is_alive() and not backlog.over
    backlog.leave()
    reader.join(10.0)
    assert taken == [[]] and backlog.over


def test_memory_is_bounded() -> None:
    backlog = Backlog()
    backlog.join()
    for item in items(LIMIT + 100):
        backlog.add(item)
    assert len(backlog.take()) == LIMIT
