"""An adapter that runs programs, and keeps what they were called with and what they said."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from payload.system.command import Completed, run


@dataclass
class RecordedRun:
    """As `system.command.run`."""

    calls: list[list[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # lines of standard output

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 60.0,
        ok: tuple[int, ...] = (0,),
    ) -> Completed:
        self.calls.append(list(argv))
        done = run(argv, stdin=stdin, timeout=timeout, ok=ok)
        self.said += done.stdout.splitlines()
        return done
