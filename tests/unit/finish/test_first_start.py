"""What makes a copy note its first start: planted once, in whatever way the system is started."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.decide.role import decide_role
from payload.finish.first_start import (
    NAME,
    PROOF_NAME,
    UNKNOWN_INIT,
    plant_record,
    render_proof_unit,
    render_unit,
    with_boot_script,
)
from payload.identify.installed import read_first_start
from payload.model.marker import USED_PATH
from payload.model.role import Role
from payload.model.settings import Settings
from tests.support.machines import FINISHED_AT, copy

# As insserv writes it.
ORDER = """\
TARGETS = udev mountkernfs.sh hostname.sh hwclock.sh checkroot.sh mountall.sh checkfs.sh
INTERACTIVE = checkroot.sh checkfs.sh
checkroot.sh: hostname.sh mountkernfs.sh
mountall.sh: checkfs.sh
checkfs.sh: checkroot.sh
"""
UNIT = f"etc/systemd/system/{NAME}.service"
WANTS = f"etc/systemd/system/sysinit.target.wants/{NAME}.service"
PROOF_UNIT = f"etc/systemd/system/{PROOF_NAME}.service"
PROOF_WANTS = f"etc/systemd/system/multi-user.target.wants/{PROOF_NAME}.service"
UNITS = {UNIT, WANTS, PROOF_UNIT, PROOF_WANTS}
SCRIPT = f"etc/init.d/{NAME}"


def tree(root: Path, *files: str) -> Path:
    for name in files:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if name.endswith("/") else place.write_text("")
    return root


def with_systemd(root: Path) -> Path:
    tree(root, "usr/lib/systemd/systemd", "usr/sbin/", "etc/rcS.d/", "etc/init.d/")
    (root / "sbin").symlink_to("usr/sbin")
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/sbin/init").symlink_to("/lib/systemd/systemd")
    return root


def with_scripts(root: Path) -> Path:
    return tree(root, "sbin/init", "etc/rcS.d/", "etc/rc2.d/", "etc/init.d/")


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): str(path.readlink()).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def planted(root: Path) -> set[str]:
    """Plant, and see that just what is listed was changed."""
    before = everything(root)
    done = plant_record(root)
    after = everything(root)
    changed = {f"/{path}" for path in after if before.get(path) != after[path]}
    assert {change.where for change in done.changes} == changed
    assert done.warnings == ()
    assert plant_record(root).changes == (), "a second time there is nothing to do"
    return {path.lstrip("/") for path in changed}


def test_systemd_gets_a_unit_and_its_link(tmp_path: Path) -> None:
    root = with_systemd(tmp_path)
    assert planted(root) == UNITS
    assert (root / WANTS).readlink() == Path(f"/{UNIT}")
    assert (root / PROOF_WANTS).readlink() == Path(f"/{PROOF_UNIT}")
    assert (root / PROOF_UNIT).read_text() == render_proof_unit()
    assert (root / UNIT).read_text() == render_unit()
    assert not (root / USED_PATH).exists()


def test_an_older_init_gets_a_script_and_its_link(tmp_path: Path) -> None:
    root = with_scripts(tmp_path)
    assert planted(root) == {SCRIPT, f"etc/rcS.d/S99{NAME}"}
    assert (root / f"etc/rcS.d/S99{NAME}").resolve() == root / SCRIPT
    assert os.access(root / SCRIPT, os.X_OK)


def test_without_a_directory_for_every_boot_the_runlevels_are_taken(tmp_path: Path) -> None:
    root = tree(tmp_path, "sbin/init", "etc/rc.d/rc3.d/", "etc/rc.d/rc5.d/", "etc/rc.d/init.d/")
    for name in ("rc3.d", "rc5.d", "init.d"):
        (root / "etc" / name).symlink_to(f"rc.d/{name}")
    assert planted(root) == {f"etc/rc.d/{path}" for path in (f"init.d/{NAME}",)} | {
        f"etc/rc.d/rc{level}.d/S99{NAME}" for level in (3, 5)
    }


def test_insserv_finds_it_in_its_list(tmp_path: Path) -> None:
    root = with_scripts(tmp_path)
    (root / "etc/init.d/.depend.boot").write_text(ORDER)
    assert planted(root) == {SCRIPT, f"etc/rcS.d/S99{NAME}", "etc/init.d/.depend.boot"}
    lines = (root / "etc/init.d/.depend.boot").read_text().splitlines()
    assert lines[0] == ORDER.splitlines()[0] + f" {NAME}"
    assert lines[1:] == [*ORDER.splitlines()[1:], f"{NAME}: mountall.sh"]


def test_systemd_beside_an_older_init_gets_both(tmp_path: Path) -> None:
    root = with_scripts(tree(tmp_path, "lib/systemd/systemd"))
    assert planted(root) == {*UNITS, SCRIPT, f"etc/rcS.d/S99{NAME}"}


def test_an_init_nobody_knows_is_told(tmp_path: Path) -> None:
    done = plant_record(tree(tmp_path, "sbin/init"))
    assert (done.changes, done.warnings) == ((), (UNKNOWN_INIT,))


def test_a_source_that_was_a_copy_hands_on_no_evidence(tmp_path: Path) -> None:
    root = with_scripts(tmp_path)
    plant_record(root)
    (root / USED_PATH).write_text("Sun Mar  1 10:00:00 UTC 2026\n")
    assert read_first_start(root)
    assert [change.where for change in plant_record(root).changes] == [f"/{USED_PATH}"]
    assert read_first_start(root) == 0


LISTED = ("TARGETS = udev mountall.sh", "TARGETS =", "INTERACTIVE = udev", "mountall.sh: udev")


@given(st.lists(st.sampled_from(LISTED) | st.text(max_size=20)).map("\n".join))
def test_no_list_is_damaged(order: str) -> None:
    done = with_boot_script(order, "mountall.sh")
    assert done == order or NAME in done
    assert with_boot_script(done, "mountall.sh") == done
    kept = [line for line in done.split("\n") if NAME not in line]
    assert all(line in order.split("\n") for line in kept)


def test_a_copy_that_noted_a_start_was_used() -> None:
    made = copy()
    (root,) = made.systems
    started = replace(made, systems=(replace(root, started_at=FINISHED_AT + 86400),))
    decision = decide_role(started, Settings())
    assert (decision.role, decision.rule) == (Role.UNDECIDED, "used copy")
    assert "started first on 2026-03-02 10:00 UTC" in " ".join(decision.reasons)


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_dead_clock_is_no_excuse(tmp_path: Path, seconds: int) -> None:
    tree(tmp_path, USED_PATH)
    os.utime(tmp_path / USED_PATH, (seconds, seconds))
    assert read_first_start(tmp_path) == 1
