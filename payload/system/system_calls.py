"""The system calls that programs of a copied system do without, as a seccomp filter.

They run on the live kernel, which keeps disks, the site's key and the network from them. A fault in
a part of it that no maker of an initramfs uses shall not be theirs to try. libseccomp makes the
filter, for amd64 and for i386: programs of 32 bits have other numbers for the same calls.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from payload.model.errors import ToolError

# By what they open to whoever has no right to anything; with systemd's groups of them in mind
# (systemd.exec(5), SystemCallFilter=).
DENIED = (
    # large parts of the kernel that are reached without any right
    "add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "fanotify_init",
    # other processes
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    # mounts and namespaces
    "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
    "pivot_root", "setns", "umount", "umount2", "unshare",
    # the kernel itself and the machine
    "acct", "delete_module", "finit_module", "init_module", "ioperm", "iopl", "kexec_file_load",
    "kexec_load", "lookup_dcookie", "nfsservctl", "open_by_handle_at", "personality", "quotactl",
    "reboot", "sethostname", "setdomainname", "swapoff", "swapon", "syslog", "uselib", "vhangup",
    "vm86", "vm86old",
    # memory of other nodes
    "mbind", "migrate_pages", "move_pages", "set_mempolicy",
    # clocks
    "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
    "settimeofday", "stime",
    # A network namespace does not shut in every family: AF_VSOCK leads to the hypervisor.
    # (libseccomp denies the same through socketcall, by which old programs of 32 bits ask for it.)
    "socket", "socketpair",
)  # fmt: skip

# include/seccomp.h of libseccomp; AUDIT_ARCH_* of include/uapi/linux/audit.h
_LIBRARY = "libseccomp.so.2"
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_ON_OTHER_ARCHITECTURES = 2  # SCMP_FLTATR_ACT_BADARCH: what x32 gets
ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003}


@contextmanager
def filter_file() -> Iterator[Path]:
    """A file with the filter, as `bwrap --seccomp` reads it. Raises ToolError."""
    with NamedTemporaryFile(prefix="ugs-failover-calls-", buffering=0) as file:
        _export(file.fileno())
        yield Path(file.name)


def _export(descriptor: int) -> None:
    library = _load()
    context = ctypes.c_void_p(library.seccomp_init(_ALLOW))
    if not context:
        raise ToolError(f"{_LIBRARY} makes no filter of system calls: no memory is left.")
    try:
        _add_architectures(library, context)
        _check("attr_set", library.seccomp_attr_set(context, _ON_OTHER_ARCHITECTURES, _REFUSE))
        for name in DENIED:
            number = number_of(name)
            code = library.seccomp_rule_add_array(context, _REFUSE, number, 0, None)
            _check(f"rule for {name}", code)
        _check("export", library.seccomp_export_bpf(context, descriptor))
    finally:
        library.seccomp_release(context)


def _add_architectures(library: ctypes.CDLL, context: ctypes.c_void_p) -> None:
    """The one of this machine is in every filter from the start."""
    for token in ARCHITECTURES.values():
        code = library.seccomp_arch_add(context, ctypes.c_uint32(token))
        if code != -errno.EEXIST:
            _check("arch_add", code)


def number_of(name: str) -> int:
    """The number of a system call on this machine; libseccomp's own, below zero, for one that only
    programs of 32 bits have. Raises ToolError."""
    number = int(_load().seccomp_syscall_resolve_name(name.encode()))
    if number == -1:  # __NR_SCMP_ERROR
        raise ToolError(f"{_LIBRARY} knows no system call {name}.")
    return number


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ToolError(
            f"{_LIBRARY} is missing, so programs of the copy are not run: {error}."
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    return library


def _check(what: str, code: int) -> None:
    if code:
        raise ToolError(
            f"{_LIBRARY} makes no filter of system calls ({what}): {os.strerror(-code)}."
        )
