"""GRUB installed anew really starts and finds the menu of the copy.

Firmware and GRUB alone: nothing of Linux is started, so the machines are done within seconds.
"""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from payload.finish.boot import reinstall
from payload.finish.boot.candidates import Medium
from payload.finish.boot.grub_legacy_shell import LIVE_SHELL
from payload.finish.boot.grub_parts import LIVE_GRUB, LIVE_MODULES, OWN_MODULES, OWN_PAIR
from tests.support.copy_before_finish import Sealed
from tests.support.grub_legacy_server import make_legacy, unpacked_shell
from tests.support.server_image import ServerImages, make_server
from tests.vm.accelerator import Accelerator
from tests.vm.hardware import Bus, Drive, Hardware
from tests.vm.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.root]
WORD = "this menu is the copy's"
SPEAK = f"serial --unit=0\nterminal_output serial\necho {WORD!r}\nset timeout=60\n"
SECONDS = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ServerImages:
    return make_server(tmp_path_factory.mktemp("server"), files=4)


def own_modules(copy: Sealed) -> None:
    copy.give_modules()


def own_pair(copy: Sealed) -> None:
    copy.give_modules_beside_the_menu()
    with copy.boot() as boot:
        (boot / "grub/i386-pc/core.img").write_bytes(copy.core("-p", "(,msdos1)/grub"))
        shutil.copy(LIVE_MODULES / "boot.img", boot / "grub/i386-pc")


def nothing(copy: Sealed) -> None:
    assert copy.plan.disks[0].table is not None


def gpt(copy: Sealed) -> None:
    copy.convert_to_gpt()
    copy.give_modules()


def legacy(copy: Sealed) -> None:
    make_legacy(copy, unpacked_shell(), "setup --prefix=/grub (hd0)")
    with copy.boot() as boot:
        menu = boot / "grub/menu.lst"
        menu.write_text("serial --unit=0\nterminal --silent serial\n" + menu.read_text())


CASES: dict[str, tuple[Callable[[Sealed], None], str]] = {
    "modules": (own_modules, OWN_MODULES),
    "pair": (own_pair, OWN_PAIR),
    "live": (nothing, LIVE_GRUB),
    "gpt": (gpt, OWN_MODULES),
    "legacy": (legacy, LIVE_SHELL),
}


def test_the_copy_starts_with_its_own_menu(
    tmp_path: Path, server: ServerImages, monkeypatch: pytest.MonkeyPatch, accelerator: Accelerator
) -> None:
    monkeypatch.setattr(reinstall, "MEDIUM", Medium(shell=unpacked_shell()))
    with ExitStack() as stack:
        machines = []
        for name, (prepare, strategy) in CASES.items():
            directory = tmp_path / name
            directory.mkdir()
            copy = Sealed(directory, server)
            prepare(copy)
            break_the_loader(copy)
            assert copy.start()[0].strategy == strategy
            machines.append(
                stack.enter_context(Machine(_machine(name, copy), directory, accelerator))
            )
        for machine in machines:
            if "legacy" not in machine.name:
                machine.wait_for(WORD, SECONDS)
            machine.wait_for(r"[* ]server +", SECONDS)
            assert "error" not in machine.text.lower()


def break_the_loader(copy: Sealed) -> None:
    """No boot code and no core, as on a copy whose source starts from another disk."""
    with copy.boot() as boot:
        menu = boot / "grub/grub.cfg"
        if menu.exists():
            menu.write_text(SPEAK + menu.read_text())
    copy.write(0, bytes(440))
    copy.write(34 * 512, bytes((2048 - 34) * 512))


def _machine(name: str, copy: Sealed) -> Hardware:
    drives = tuple(Drive(path, "raw", f"TARGET{number}") for number, path in enumerate(copy.disks))
    return Hardware(name=f"grub-{name}", bus=Bus.IDE, drives=drives, memory=128)
