"""Several threads at one job, which ends as a whole: done, or with the error that says most."""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from payload.model.errors import LinkError, PeerError, StoppedError


class Crew:
    """Threads at one job. More may join as long as one of them works.

    When one fails, `interrupt` is called once, which makes the others end soon.
    """

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._errors: list[BaseException] = []
        self._threads: deque[threading.Thread] = deque()
        self._lock = threading.Lock()

    def start(self, worker: Callable[[], None]) -> None:
        """Begin another thread."""
        thread = threading.Thread(target=self._run, args=(worker,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, worker: Callable[[], None]) -> None:
        try:
            worker()
        except BaseException as error:  # noqa: BLE001  (raised again by `wait`)
            with self._lock:
                self._errors.append(error)
                first = len(self._errors) == 1
            if first:
                self._interrupt()

    def wait(self) -> None:
        """Until the last one ended. What is raised is the cause: an error of the disks before one
        of the peer before a connection that broke, since the last is also what the others see
        when we interrupt."""
        while self._threads:
            self._threads.popleft().join()
        if self._errors:
            raise min(self._errors, key=_rank)


def work_together(workers: Iterable[Callable[[], None]], interrupt: Callable[[], None]) -> None:
    """Run each worker in its own thread and wait for all. Raises as `Crew.wait`."""
    crew = Crew(interrupt)
    for worker in workers:
        crew.start(worker)
    crew.wait()


def _rank(error: BaseException) -> int:
    if isinstance(error, LinkError):
        return 2
    return 1 if isinstance(error, PeerError | StoppedError) else 0
