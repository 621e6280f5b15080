"""The program as a process of its own."""

import subprocess
import sys
from pathlib import Path

from payload import __version__

PROJECT = Path(__file__).resolve().parents[2]


def test_version_is_quick_and_loads_nothing_else() -> None:
    script = (
        "import sys; from payload.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} "
        "& {'rich', 'zeroconf', 'pyroute2', 'cryptography', 'msgspec', 'blake3'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout == f"UGS-Failover {__version__}\n0\n[]\n"


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "payload", "--version"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=True,
    )
    assert done.stdout == f"UGS-Failover {__version__}\n"


def test_a_reader_that_goes_away_is_no_mistake() -> None:
    program = [sys.executable, "-m", "payload", "settings"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
