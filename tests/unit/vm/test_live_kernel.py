"""The kernel line of the ISO's own boot menu, for machines that are started without it."""

from pathlib import Path

import pytest

from tests.vm.images import ImageError
from tests.vm.live_kernel import menu_parameters

MENU = (Path(__file__).parents[3] / "iso-config/grub.cfg").read_text()
SETTINGS = (
    'set live="/live"\nset medium="live-media=removable ugs-failover.medium=4711"\n'
    'set timeout="5"\nset site_parameters="failover.countdown=3"\n'
)


def test_the_menu_s_parameters_are_all_in_it_and_in_its_order() -> None:
    words = menu_parameters(SETTINGS + MENU).split()
    assert words[:3] == ["boot=live", "live-media=removable", "ugs-failover.medium=4711"]
    assert words[-2:] == ["console=tty0", "failover.countdown=3"]
    assert {"noswap", "raid=noautodetect", "nomodeset"} <= set(words)
    assert not [word for word in words if "$" in word or '"' in word]


def test_a_site_without_parameters_of_its_own_leaves_no_blanks() -> None:
    line = menu_parameters(SETTINGS.replace("failover.countdown=3", "") + MENU)
    assert line == " ".join(line.split())


def test_a_menu_that_starts_no_live_system_is_an_error() -> None:
    with pytest.raises(ImageError, match="sets no kernel parameters"):
        menu_parameters(SETTINGS)
