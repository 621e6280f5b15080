"""The program as a process of its own."""

import subprocess
import sys
from pathlib import Path

from payload import __version__

PROJECT = Path(__file__).resolve().parents[2]


def python(script: str) -> str:
    """What a script prints in a process of its own, in which nothing is imported yet."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    return done.stdout


def test_version_is_quick_and_loads_nothing_else() -> None:
    script = (
        "import sys; from payload.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} "
        "& {'rich', 'zeroconf', 'pyroute2', 'cryptography', 'msgspec', 'blake3'}))"
    )
    assert python(script) == f"UGS-Failover {__version__}\n0\n[]\n"


def test_the_name_of_the_machine_needs_a_small_part_of_the_program() -> None:
    libraries = {"cryptography", "pyudev", "rich", "yaml", "zeroconf", "zstandard"}
    script = (
        "import sys, payload.live\n"
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & {libraries}))\n"
        "print(*sorted({name.split('.')[1] for name in sys.modules if 'payload.' in name}))"
    )
    assert python(script).splitlines() == ["[]", "console live model system"]


def test_a_machine_that_has_a_role_has_the_whole_program_loaded() -> None:
    """What cannot be imported ends a run before a peer is met: nothing is imported later."""
    script = (
        "import pkgutil, sys, payload, payload.live\n"
        "from payload.console.painter import Painter\n"
        "payload.live.load_run()\n"
        "from payload.session.engine import load_roles\n"
        "load_roles()\n"
        "names = {one.name for one in pkgutil.walk_packages(payload.__path__, 'payload.')}\n"
        "print(*sorted(names - set(sys.modules)))"
    )
    commands = "payload.cli.inventory_text payload.cli.main payload.cli.reference"
    assert python(script) == f"payload.__main__ {commands}\n"


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
