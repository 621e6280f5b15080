"""Errors: their exit codes, and what they make of disks that were sealed before."""

import pytest

from payload.model import errors
from payload.model.errors import (
    DiskState,
    FailoverError,
    LinkError,
    LoaderError,
    TargetDiskError,
    ToolError,
    UnforeseenError,
    VerifyError,
)

KINDS: list[type[FailoverError]] = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FailoverError) and kind is not FailoverError
]
# What is worth another try has the code of what it is a kind of.
SPECIAL = (LinkError, LoaderError, UnforeseenError)


def test_each_kind_of_error_has_a_code_and_a_meaning_of_its_own() -> None:
    plain = [FailoverError]
    plain += [kind for kind in KINDS if kind not in SPECIAL]
    codes = [kind.exit_code for kind in plain]
    assert sorted(codes) == list(range(1, len(plain) + 1)), "0 is success"
    assert len({kind.meaning for kind in plain}) == len(plain)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_special_case_ends_like_what_it_is_a_case_of(kind: type[FailoverError]) -> None:
    (base,) = kind.__bases__
    assert issubclass(base, FailoverError) and kind.exit_code == base.exit_code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", DiskState)
def test_only_disks_that_may_start_become_doubtful_and_only_by_what_doubts_them(
    kind: type[FailoverError], left: DiskState
) -> None:
    doubted = left is DiskState.SEALED and kind in (TargetDiskError, VerifyError)
    assert kind("x").disks(left) is (DiskState.DOUBTFUL if doubted else left)


def test_a_tool_s_error_says_how_it_ended() -> None:
    error = ToolError("It failed.", code=3, stderr="why\n")
    assert (str(error), error.code, error.stderr) == ("It failed.", 3, "why\n")
    assert (ToolError("No end.").code, ToolError("No end.").stderr) == (None, "")
