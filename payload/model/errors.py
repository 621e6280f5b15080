"""Errors a person can act on. Each class carries the exit code the program ends with.

The text of an error is one or more whole sentences: what happened, to which disk or peer, what
was or was not written, and what to do next. `docs/exit-codes.md` is printed from these classes.
"""

from typing import ClassVar


class FailoverError(Exception):
    """Anything this program foresees. Never raised itself; catch it where a run ends."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "an error this program did not foresee (please report it)"


class SettingsError(FailoverError):
    """A setting or an argument is unknown or out of range; nothing was looked at yet."""

    exit_code = 2
    meaning = "a setting, kernel parameter or argument is wrong; nothing was touched"


class UndecidedError(FailoverError):
    """This machine is neither clearly a source nor clearly a target; nothing was written."""

    exit_code = 3
    meaning = "the role of this machine could not be decided; nothing was written"


class PlanError(FailoverError):
    """The source does not fit on the target; nothing was written."""

    exit_code = 4
    meaning = "no copy is possible between these two machines; nothing was written"


class PeerError(FailoverError):
    """The peer broke the rules of the protocol, or is not the one we agreed with."""

    exit_code = 5
    meaning = "the other machine broke the protocol, is of another site, or went away for good"


class LinkError(PeerError):
    """The connection ended or stalled. The only peer error worth another try."""


class StoppedError(FailoverError):
    """A person stopped the run on one of the machines before anything was written."""

    exit_code = 6
    meaning = "a person stopped the run; nothing was written"


class SourceDiskError(FailoverError):
    """The source could not be read where it matters, beyond listed bad sectors."""

    exit_code = 7
    meaning = "a source disk could not be read"


class TargetDiskError(FailoverError):
    """The target disk failed to take or keep data. The copy is unfinished and does not boot."""

    exit_code = 8
    meaning = "a target disk could not be written; the copy is unfinished and does not boot"


class VerifyError(FailoverError):
    """What was read back differs from the source. The copy is unfinished and does not boot."""

    exit_code = 9
    meaning = "what was read back differs from the source; the copy does not boot"


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


class HoleError(FailoverError):
    """The copy is finished, but sectors of the source could not be read: it has a hole."""

    exit_code = 12
    meaning = "the copy is finished but has holes: sectors of the source could not be read"
