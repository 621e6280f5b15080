"""Several threads at one job, which ends as a whole: done, or with the error that says most."""

import threading
from collections.abc import Callable, Iterable

from payload.model.errors import LinkError, PeerError


def work_together(workers: Iterable[Callable[[], None]], interrupt: Callable[[], None]) -> None:
    """Run each worker in its own thread and wait for all.

    When one fails, `interrupt` is called once, which makes the others end soon. What is raised
    is the cause: an error of the disks before one of the peer before a connection that broke,
    since the last is also what the others see when we interrupt.
    """
    errors: list[BaseException] = []
    lock = threading.Lock()

    def run(worker: Callable[[], None]) -> None:
        try:
            worker()
        except BaseException as error:  # noqa: BLE001  (raised again below)
            with lock:
                errors.append(error)
                first = len(errors) == 1
            if first:
                interrupt()

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise min(errors, key=_rank)


def _rank(error: BaseException) -> int:
    if isinstance(error, LinkError):
        return 2
    return 1 if isinstance(error, PeerError) else 0
