"""The shell script that notes a copy's first start, run by a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from payload.finish.first_start import (
    PROOF_PRODUCT,
    PROOF_WORD,
    render_proof_unit,
    render_script,
    render_unit,
)
from payload.identify.installed import read_first_start
from payload.model.marker import USED_PATH
from tests.support.machines import FINISHED_AT


def run_in(root: Path, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The script as the copy would run it, were `root` its root."""
    text = script.replace(f"/{USED_PATH}", str(root / USED_PATH))
    argv = ["sh", "-eu", "-c", text, "script", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_script_notes_the_first_start_alone(tmp_path: Path) -> None:
    root = tmp_path
    (root / "etc").mkdir()
    assert run_in(root, render_script(), "stop").returncode == 0
    assert not (root / USED_PATH).exists()
    assert run_in(root, render_script(), "start").returncode == 0
    first = (root / USED_PATH).read_text()
    assert "UTC" in first
    os.utime(root / USED_PATH, (FINISHED_AT, FINISHED_AT))
    assert run_in(root, render_script(), "start").returncode == 0
    assert read_first_start(root) == FINISHED_AT


def test_a_root_that_takes_nothing_delays_no_boot(tmp_path: Path) -> None:
    done = run_in(tmp_path / "nothing", render_script(), "start")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_runs_the_same_words(tmp_path: Path) -> None:
    (line,) = [line for line in render_unit().splitlines() if line.startswith("ExecStart=")]
    words = line.removeprefix("ExecStart=-/bin/sh -c ").strip("'")
    assert words in render_script() and "%" not in words
    (tmp_path / "etc").mkdir()
    assert run_in(tmp_path, words).returncode == 0
    assert (tmp_path / USED_PATH).exists()


@pytest.mark.parametrize("product", [PROOF_PRODUCT, "PowerEdge R340", ""])
def test_the_copy_speaks_in_the_machine_that_tries_it_out_only(
    tmp_path: Path, product: str
) -> None:
    (line,) = [line for line in render_proof_unit().splitlines() if line.startswith("ExecStart=")]
    words = line.removeprefix("ExecStart=-/bin/sh -c ").strip("'")
    assert not set(words) & set("%$'")  # systemd would take them for its own
    dmi, serial = tmp_path / "product_name", tmp_path / "ttyS0"
    if product:
        dmi.write_text(f"{product}\n")
    words = words.replace("/sys/class/dmi/id/product_name", str(dmi))
    done = subprocess.run(
        ["sh", "-c", words.replace("/dev/ttyS0", str(serial))], capture_output=True, check=False
    )
    assert done.stdout == done.stderr == b""
    said = serial.read_text() if serial.exists() else ""
    assert said == (f"\n{PROOF_WORD} {os.uname().nodename}\n" if product == PROOF_PRODUCT else "")
