"""The data connections of one fetch, some over each link to the source.

All take from the same work, so each link carries what it can. Losing one costs time: what it had
under way is asked for again over the others. Losing the last one ends the fetch.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from payload.model.errors import LinkError
from payload.model.event import Level, Monitor, Note
from payload.replicate.backlog import Backlog
from payload.replicate.crew import Crew
from payload.replicate.fetching import Fetcher
from payload.replicate.sender import Line
from payload.replicate.work import Work

LOOK = 1.0  # seconds between two looks for further links

OpenData = Callable[[], Line]  # another data connection over one link; raises LinkError
FindLinks = Callable[[], Iterable[OpenData]]  # links that answer now and are not used yet


@dataclass
class Lane:
    """One link, with a connection for each of its threads."""

    open_data: OpenData
    lines: list[Line] = field(default_factory=list)
    lost: bool = False


class Lanes:
    """Starts a fetcher for each connection, as members of a crew whose `interrupt` is ours."""

    def __init__(
        self,
        work: Work,
        fetcher: Callable[[Line], Fetcher],
        connections: int,
        backlog: Backlog,
        monitor: Monitor,
    ) -> None:
        """`connections` is their number over each link."""
        self._work = work
        self._fetcher = fetcher
        self._connections = connections
        self._backlog = backlog
        self._monitor = monitor
        self._lanes: list[Lane] = []
        self._interrupted = False
        self._lock = threading.Lock()
        self.crew = Crew(self.interrupt)

    def add(self, open_data: OpenData) -> None:
        """Use another link."""
        lane = Lane(open_data)
        with self._lock:
            self._lanes.append(lane)
        for _ in range(self._connections):
            self._backlog.join()
            self.crew.start(partial(self._serve, lane))

    def look_for_more(self, find_links: FindLinks) -> None:
        """Use every further link that is found, until the work is done."""
        while True:
            for open_data in find_links():
                self.add(open_data)
            if self._work.wait_for_end(LOOK):
                return

    def interrupt(self) -> None:
        """End soon, with an error each."""
        self._work.stop()
        with self._lock:
            self._interrupted = True
            lines = [line for lane in self._lanes for line in lane.lines]
        for line in lines:
            line.close()

    def _serve(self, lane: Lane) -> None:
        try:
            line = self._open(lane)
            try:
                self._fetcher(line).work(self._work.hand())
            finally:
                self._close(lane, line)
        except LinkError as error:
            if self._lose(lane, error):
                raise
        finally:
            self._backlog.leave()

    def _open(self, lane: Lane) -> Line:
        line = lane.open_data()
        with self._lock:
            too_late = lane.lost or self._interrupted
            lane.lines.append(line)
        if too_late:
            line.close()
        return line

    def _close(self, lane: Lane, line: Line) -> None:
        """And forget it: a link that comes and goes opens many, with a chunk's memory each."""
        line.close()
        with self._lock:
            lane.lines.remove(line)

    def _lose(self, lane: Lane, error: LinkError) -> bool:
        """All connections over one link share its fate. True when there is no other link."""
        with self._lock:
            first, lane.lost = not lane.lost, True
            last = self._interrupted or all(one.lost for one in self._lanes)
            lines = list(lane.lines)
        if first and not last:
            for line in lines:
                line.close()
            text = f"{error} The copy goes on over the other link; this one is tried again."
            self._monitor(Note(text, Level.WARNING))
        return last
