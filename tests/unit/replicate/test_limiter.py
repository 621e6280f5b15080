"""What holds the work up: seconds added up where they are spent."""

import threading

import pytest

from payload.model.event import Limiter
from payload.model.message import Spent
from payload.replicate.limiter import Account, Effort, find_limiter


@pytest.mark.parametrize(
    ("effort", "limiter"),
    [
        (Effort(network=9, source_disk=3, source_processor=8), Limiter.WIRE),
        (Effort(network=3, source_disk=9), Limiter.SOURCE_DISK),
        (Effort(target_disk=9, target_processor=5, source_processor=5), Limiter.TARGET_DISK),
        (Effort(target_disk=5, source_processor=9), Limiter.PROCESSOR),
        (Effort(target_disk=5, target_processor=9), Limiter.PROCESSOR),
        (Effort(waiting=9, source_disk=3, source_processor=2, target_disk=3), Limiter.WIRE),
        (Effort(waiting=9, source_disk=8, network=2), Limiter.SOURCE_DISK),
        (Effort(), None),
    ],
)
def test_the_busiest_is_the_limiter(effort: Effort, limiter: Limiter | None) -> None:
    before = Effort(100, 100, 100, 100, 100, 100)
    after = Effort(*(100 + getattr(effort, name) for name in Effort.__dataclass_fields__))
    assert find_limiter(before, after) is limiter


def test_what_both_machines_spend_is_added_up() -> None:
    account = Account()
    account.source(Spent(1_000_000, 2_000_000, 3_000_000))
    account.source(Spent(1_000_000, 0, 0))
    with account.waiting(), account.target_disk(), account.target_processor():
        pass
    effort = account.effort
    assert (effort.source_disk, effort.source_processor, effort.network) == (2.0, 2.0, 3.0)
    assert 0 < effort.target_processor <= effort.target_disk <= effort.waiting < 1


def test_threads_lose_none_of_their_seconds() -> None:
    account = Account()

    def work() -> None:
        for _ in range(200):
            account.source(Spent(disk=1_000_000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.effort == Effort(source_disk=800.0)


def test_only_what_was_spent_in_between_counts() -> None:
    before = Effort(source_disk=1000, target_disk=1)
    after = Effort(source_disk=1001, target_disk=3)
    assert find_limiter(before, after) is Limiter.TARGET_DISK


def test_a_target_that_waits_for_the_source_is_held_up_by_it_and_not_by_the_wire() -> None:
    effort = Effort(source_disk=50, source_processor=10, waiting=60)
    assert find_limiter(Effort(), effort) is Limiter.SOURCE_DISK
