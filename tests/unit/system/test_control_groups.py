"""Limits written into control groups, and their end, on a tree that behaves as the kernel's."""

from pathlib import Path, PosixPath

import pytest

from payload.model.errors import ToolError
from payload.system import control_groups
from payload.system.control_groups import limited

NOBODY = 1 << 30  # no process has this number: PID_MAX_LIMIT is 4 Mi (include/linux/threads.h)


class KernelPath(PosixPath):
    """A path below a control group's file system: a new directory holds the kernel's files, which
    go with it, and it stays while it has processes."""

    knobs: tuple[str, ...] = ()
    stays: list[str]  # what is in `cgroup.procs` at each try to remove one

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        super().mkdir(mode, parents, exist_ok)
        for name in ("cgroup.procs", *self.knobs):
            (self / name).touch()

    def rmdir(self) -> None:
        if self.stays:
            (self / "cgroup.procs").write_text(self.stays.pop())
            raise OSError(16, "Device or resource busy")
        for file in self.iterdir():
            file.unlink()
        super().rmdir()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[KernelPath]:
    monkeypatch.setattr(KernelPath, "stays", [], raising=False)
    return KernelPath


def mount(directory: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> KernelPath:
    """Where control groups are mounted; directories end with "/"."""
    root = KernelPath(directory)
    for file in files:
        if file.endswith("/"):
            Path(root, file).mkdir()
        else:
            Path(root, file).touch()
    monkeypatch.setattr(control_groups, "ROOT", root)
    return root


def groups_of(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith("ugs-failover-")]


def test_one_group_bounds_memory_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: type[KernelPath]
) -> None:
    monkeypatch.setattr(kernel, "knobs", ("memory.max", "pids.max", "memory.swap.max"))
    root = mount(tmp_path, monkeypatch, "cgroup.controllers", "cgroup.subtree_control")
    with limited(1 << 30, 64) as groups:
        (group,) = groups
        assert group.parent == root
        assert (group / "memory.max").read_text() == "1073741824"
        assert (group / "pids.max").read_text() == "64"
        assert (group / "memory.swap.max").read_text() == "0"
    assert (root / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert groups_of(root) == []


def test_a_kernel_without_swap_has_no_limit_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: type[KernelPath]
) -> None:
    monkeypatch.setattr(kernel, "knobs", ("memory.max", "pids.max"))
    mount(tmp_path, monkeypatch, "cgroup.controllers", "cgroup.subtree_control")
    with limited(1 << 30, 64) as (group,):
        assert sorted(file.name for file in group.iterdir()) == [
            *("cgroup.procs", "memory.max", "pids.max"),
        ]


def test_older_kernels_have_a_group_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: type[KernelPath]
) -> None:
    root = mount(tmp_path, monkeypatch, "memory/", "pids/")
    with limited(1 << 30, 64) as (memory, pids):
        assert (memory.parent, pids.parent) == (root / "memory", root / "pids")
        assert (memory / "memory.limit_in_bytes").read_text() == "1073741824"
        assert (pids / "pids.max").read_text() == "64"
    assert groups_of(root / "memory") == groups_of(root / "pids") == []


def test_what_still_runs_is_ended_until_the_group_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: type[KernelPath]
) -> None:
    """A process that ends while its group is read is no error."""
    root = mount(tmp_path, monkeypatch, "cgroup.controllers", "cgroup.subtree_control")
    with limited(1 << 30, 64):
        kernel.stays.extend([f"{NOBODY}\n", f"{NOBODY}\n{NOBODY + 1}\n"])
    assert kernel.stays == [] and groups_of(root) == []


def test_a_group_is_removed_though_the_work_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: type[KernelPath]
) -> None:
    root = mount(tmp_path, monkeypatch, "cgroup.controllers", "cgroup.subtree_control")
    with pytest.raises(ZeroDivisionError), limited(1 << 30, 64):
        raise ZeroDivisionError
    assert groups_of(root) == []


@pytest.mark.parametrize("there", [(), ("memory/",), ("cgroup.controllers",)])
def test_without_control_groups_nothing_is_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernel: type[KernelPath],
    there: tuple[str, ...],
) -> None:
    """And what was made before that was found out is gone."""
    root = mount(tmp_path / "cgroup", monkeypatch) if not there else None
    root = root or mount(tmp_path, monkeypatch, *there)
    if "cgroup.controllers" in there:
        Path(root, "cgroup.subtree_control").mkdir()
    with pytest.raises(ToolError, match="no control groups for that"), limited(1 << 30, 64):
        pytest.fail("there are no limits")
    if "memory/" in there:
        assert groups_of(root / "memory") == []
