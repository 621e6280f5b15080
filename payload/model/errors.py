"""Errors a person can act on. Each class carries the exit code the program ends with.

The text of an error is one or more whole sentences: what happened, to which disk or peer, and
what to put right. It says nothing of what was written: the same error may come before the first
write and after the last. That is a `DiskState`, and the report's last two sentences are made of it
(`session.closing`). `docs/exit-codes.md` is printed from these classes.
"""

from enum import StrEnum
from typing import ClassVar


class DiskState(StrEnum):
    """State of the target's disks after a run."""

    UNTOUCHED = "untouched"  # as they were: nothing was written, or it was undone
    UNFINISHED = "unfinished"  # marked as ours; nothing on them starts
    SEALED = "sealed"  # content, table and boot code are written: they may start
    DOUBTFUL = "doubtful"  # the same, on disks that did not keep what was written to them
    AT_TARGET = "at the target"  # as the source says it: a copy was begun, the target knows more
    FINISHED = "finished"  # a copy that is ready to start


class FailoverError(Exception):
    """Anything this program foresees. Never raised itself; catch it where a run ends."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "an error this program did not foresee (please report it)"
    # The state of disks that were sealed before it happened. All other states outlast any error.
    sealed_disks: ClassVar[DiskState] = DiskState.SEALED

    def disks(self, left: DiskState) -> DiskState:
        """State of the disks after this error, where the run had brought them to `left`."""
        return self.sealed_disks if left is DiskState.SEALED else left


class UnforeseenError(FailoverError):
    """A mistake in this program. Its cause is the exception that nobody caught."""


class SettingsError(FailoverError):
    """A setting or an argument is unknown or out of range."""

    exit_code = 2
    meaning = "a setting, kernel parameter or argument is wrong; nothing was touched"


class UndecidedError(FailoverError):
    """This machine is neither clearly a source nor clearly a target, or not any longer."""

    exit_code = 3
    meaning = "the role of this machine could not be decided"


class PlanError(FailoverError):
    """The source does not fit on the target."""

    exit_code = 4
    meaning = "no copy is possible between these two machines"


class PeerError(FailoverError):
    """The peer broke the rules of the protocol, or is not the one we agreed with."""

    exit_code = 5
    meaning = "the other machine broke the protocol, is of another site, or went away for good"


class LinkError(PeerError):
    """The connection ended or stalled. The only peer error worth another try."""


class StoppedError(FailoverError):
    """A person stopped the run on one of the machines, during a countdown."""

    exit_code = 6
    meaning = "a person stopped the run"


class SourceDiskError(FailoverError):
    """The source could not be read where it matters, beyond listed bad sectors."""

    exit_code = 7
    meaning = "a source disk could not be read"


class TargetDiskError(FailoverError):
    """A target disk failed to take or keep data, or is not the one it was."""

    exit_code = 8
    meaning = "a target disk could not be written, or is not what it was"
    sealed_disks = DiskState.DOUBTFUL


class VerifyError(FailoverError):
    """Data on the target differs from the source, or was never read back."""

    exit_code = 9
    meaning = "what was read back from a target disk differs from the source"
    sealed_disks = DiskState.DOUBTFUL


class AdaptError(FailoverError):
    """The data was copied, but the copy could not be made to boot as the server."""

    exit_code = 10
    meaning = "the data was copied, but the copy could not be adapted"


class LoaderError(AdaptError):
    """The way from the firmware to the boot menu is broken. The only adaptation error that a
    boot loader installed anew may mend."""


class ToolError(FailoverError):
    """A tool of the live system failed. A failed tool is never an empty answer."""

    exit_code = 11
    meaning = "a tool of the live system failed"

    def __init__(self, sentence: str, *, code: int | None = None, stderr: str = "") -> None:
        """`code` is what the process ended with, None when there was no process or no end."""
        super().__init__(sentence)
        self.code = code
        self.stderr = stderr


class HoleError(FailoverError):
    """The copy is finished, but sectors of the source could not be read: it has a hole."""

    exit_code = 12
    meaning = "the copy is finished but has holes: sectors of the source could not be read"
