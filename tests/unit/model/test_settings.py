"""Words of the kernel line: each is obeyed, or refused with the spelling that was meant."""

import pytest

from payload.model.errors import SettingsError
from payload.model.settings import (
    Settings,
    read_kernel_line,
    read_menu_parameters,
    read_site_toml,
)


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("failover-dry-run=1", "failover.dry-run=1"),
        ("Failover.dry-run=1", "failover.dry-run=1"),
        ("FAILOVER.ROLE=source", "failover.role=source"),
        ("failover_dry_run=1", "failover.dry-run=1"),
        ("failover:overwrite=S1", "failover.overwrite=S1"),
        ("fail-over.peer=192.0.2.1", "failover.peer=192.0.2.1"),
        ("failoverdry-run", "failover.dry-run=VALUE"),
        ("failvoer.dry-run=1", "failover.dry-run=1"),
        ("failovr.after.source=stay", "failover.after.source=stay"),
        ("fallover-after-target=stay", "failover.after.target=stay"),
        ("ugs-failover.countdown=60", "failover.countdown=60"),
        ("--failover.verify=no", "failover.verify=no"),
        ("failover=1", "failover.KEY=1"),
    ],
)
def test_a_word_that_is_nearly_ours_is_refused(word: str, right: str) -> None:
    """It was meant as a setting. Ignored, a "look only" would have become a copy."""
    with pytest.raises(SettingsError) as refused:
        read_kernel_line(Settings(), f"boot=live quiet {word} console=ttyS0")
    assert repr(word) in str(refused.value)
    assert str(refused.value).endswith(f"Write {right}.")


@pytest.mark.parametrize(
    "word",
    [
        "BOOT_IMAGE=/ugs-failover/vmlinuz",
        "live-media-path=/ugs-failover",
        "fetch=http://192.0.2.1/ugs-failover/ugs-failover.iso",
        "modprobe.blacklist=net_failover,failover",
        "net_failover.debug=1",
        "failslab=1,1,0,0",
        "fail_make_request=1",
        "nofail",
        "rollover=1",
    ],
)
def test_a_word_of_somebody_else_is_left_alone(word: str) -> None:
    assert read_kernel_line(Settings(), f"boot=live {word}") == Settings()


@pytest.mark.parametrize(
    ("key", "likely"),
    [("dry_run", "dry-run"), ("overwrit", "overwrite"), ("After-Target", "after.target")],
)
def test_a_key_that_is_nearly_one_is_told(key: str, likely: str) -> None:
    with pytest.raises(SettingsError, match=f"no setting '{key}'. Is {likely} meant"):
        read_kernel_line(Settings(), f"failover.{key}=1")
    with pytest.raises(SettingsError, match=f"no setting '{key}'. Is {likely} meant"):
        read_site_toml(Settings(), f'"{key}" = "1"')


def test_a_key_like_none_is_refused_without_a_guess() -> None:
    with pytest.raises(SettingsError, match=r"no setting 'xyz'\. Known are: after\.source"):
        read_kernel_line(Settings(), "failover.xyz=1")


PLACED = pytest.mark.parametrize(
    "word", ["path:pci-0000:00:1f.2-ata-1", "/dev/disk/by-path/pci-1-ata-1"]
)


@PLACED
def test_a_menu_that_both_machines_read_names_no_disk_by_where_it_is(word: str) -> None:
    words = f"console=tty0 failover.overwrite=SERIAL,{word}"
    with pytest.raises(SettingsError, match=r"kernel-parameters: overwrite: .* plugged in"):
        read_menu_parameters(Settings(), words.split(), "kernel-parameters")
    with pytest.raises(SettingsError, match=r"boot menu: overwrite: .* plugged in"):
        read_kernel_line(Settings(), f"boot=live {words} failover.this-machine")
    with pytest.raises(SettingsError, match=r"boot menu: overwrite: .* plugged in"):
        read_kernel_line(Settings(), f"{words} failover.this-machine failover.overwrite=SERIAL")


@PLACED
def test_a_person_at_one_machine_s_menu_may_name_a_disk_by_where_it_is(word: str) -> None:
    line = f"boot=live failover.countdown=60 failover.this-machine failover.overwrite={word}"
    told = read_kernel_line(Settings(), line)
    assert (told.countdown, told.overwrite) == (60, (word,))


def test_what_is_typed_at_a_machine_wins_over_the_menu() -> None:
    line = "failover.countdown=60 failover.port=1 failover.this-machine failover.countdown=5"
    told = read_kernel_line(Settings(), line)
    assert (told.countdown, told.port) == (5, 1)


@pytest.mark.parametrize(
    "line", ["failover.this-machine failover.this-machine", "failover.this-machine=1"]
)
def test_the_word_before_what_was_typed_is_no_setting(line: str) -> None:
    with pytest.raises(SettingsError, match="no setting 'this-machine'"):
        read_kernel_line(Settings(), line)


def test_a_menu_s_parameters_do_not_claim_to_be_typed() -> None:
    words = ["failover.this-machine", "failover.overwrite=path:1"]
    with pytest.raises(SettingsError, match="no setting 'this-machine'"):
        read_menu_parameters(Settings(), words, "kernel-parameters")


@PLACED
def test_a_file_that_both_machines_read_names_no_disk_by_where_it_is(word: str) -> None:
    with pytest.raises(SettingsError, match=r"site\.toml: overwrite: .* plugged in"):
        read_site_toml(Settings(), f'overwrite = ["SERIAL", "{word}"]')
    assert read_kernel_line(Settings(), f"failover.overwrite={word}").overwrite == (word,)
    by_id = "/dev/disk/by-id/ata-DISK_path:1"
    assert read_site_toml(Settings(), f'overwrite = ["{by_id}"]').overwrite == (by_id,)
