"""The filter of system calls, as the kernel would apply it: its program is run here, for both kinds
of programs that a copied system may have."""

import errno
import struct

import pytest

from payload.model.errors import ToolError
from payload.system import system_calls
from payload.system.system_calls import ARCHITECTURES, DENIED, filter_file, number_of

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
X32 = 0x40000000  # __X32_SYSCALL_BIT
# arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl of Linux
REFUSED = {
    "x86_64": {
        "ptrace": 101, "personality": 135, "mount": 165, "reboot": 169, "init_module": 175,
        "add_key": 248, "keyctl": 250, "perf_event_open": 298, "bpf": 321, "userfaultfd": 323,
        "io_uring_setup": 425, "socket": 41,
    },
    "x86": {
        "ptrace": 26, "personality": 136, "mount": 21, "reboot": 88, "init_module": 128,
        "add_key": 286, "keyctl": 288, "perf_event_open": 336, "bpf": 357, "userfaultfd": 374,
        "io_uring_setup": 425, "socket": 359, "umount": 22, "stime": 25, "clock_settime64": 404,
    },
}  # fmt: skip
NEEDED = {
    "x86_64": {
        "read": 0, "mmap": 9, "clone": 56, "execve": 59, "wait4": 61, "mkdir": 83, "chown": 92,
        "setuid": 105, "chroot": 161, "openat": 257, "clone3": 435,
    },
    "x86": {
        "fork": 2, "execve": 11, "chroot": 61, "readdir": 89, "clone": 120, "modify_ldt": 123,
        "mmap2": 192, "chown32": 212, "setuid32": 213, "set_thread_area": 243, "openat": 295,
    },
}  # fmt: skip


def verdict(architecture: int, number: int, first: int = 0) -> int:
    """What the filter says of a call (seccomp(2), struct seccomp_data; bpf of linux/filter.h)."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, first, *[0] * 5)
    with filter_file() as file:
        program = list(struct.iter_unpack("<HBBI", file.read_bytes()))
    at = value = 0
    jumps = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: int.__and__}
    while True:
        code, then, otherwise, word = program[at]
        at += 1
        if code == 0x20:  # load a word
            (value,) = struct.unpack_from("<I", data, word)
        elif code == 0x05:  # jump always
            at += word
        elif code == 0x06:  # return
            return int(word)
        else:
            at += then if jumps[code](value, word) else otherwise


def cases(table: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    return [(kind, name) for kind, numbers in table.items() for name in numbers]


@pytest.mark.parametrize(("kind", "name"), cases(REFUSED))
def test_what_nothing_here_needs_is_refused(kind: str, name: str) -> None:
    assert name in DENIED
    assert verdict(ARCHITECTURES[kind], REFUSED[kind][name]) == REFUSE


@pytest.mark.parametrize(("kind", "name"), cases(NEEDED))
def test_what_makers_of_an_initramfs_do_goes_on(kind: str, name: str) -> None:
    assert name not in DENIED
    assert verdict(ARCHITECTURES[kind], NEEDED[kind][name]) == ALLOW


@pytest.mark.parametrize(("call", "answer"), [(1, REFUSE), (8, REFUSE), (3, ALLOW)])
def test_old_programs_get_no_socket_by_socketcall(call: int, answer: int) -> None:
    """SYS_SOCKET, SYS_SOCKETPAIR and SYS_CONNECT, include/uapi/linux/net.h."""
    assert verdict(ARCHITECTURES["x86"], 102, call) == answer


def test_no_other_numbers_lead_around_it() -> None:
    assert verdict(ARCHITECTURES["x86_64"], X32 | 9) == REFUSE
    assert verdict(0xC00000B7, 0) == REFUSE  # AUDIT_ARCH_AARCH64


def test_without_the_library_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_calls, "_LIBRARY", "libnone.so.2")
    with pytest.raises(ToolError, match=r"libnone\.so\.2 is missing"), filter_file():
        pytest.fail("there is no filter")


def test_a_call_that_the_library_does_not_know_is_told() -> None:
    with pytest.raises(ToolError, match="knows no system call no_such_call"):
        number_of("no_such_call")
