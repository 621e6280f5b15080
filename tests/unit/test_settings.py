"""Words of the kernel line: each is obeyed, or refused with the spelling that was meant."""

import pytest

from payload.model.errors import SettingsError
from payload.model.settings import Settings, read_kernel_line, read_site_toml


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


@pytest.mark.parametrize("word", ["path:pci-0000:00:1f.2-ata-1", "/dev/disk/by-path/pci-1-ata-1"])
def test_a_file_that_both_machines_read_names_no_disk_by_where_it_is(word: str) -> None:
    with pytest.raises(SettingsError, match=r"site\.toml: overwrite: .* plugged in"):
        read_site_toml(Settings(), f'overwrite = ["SERIAL", "{word}"]')
    assert read_kernel_line(Settings(), f"failover.overwrite={word}").overwrite == (word,)
    by_id = "/dev/disk/by-id/ata-DISK_path:1"
    assert read_site_toml(Settings(), f'overwrite = ["{by_id}"]').overwrite == (by_id,)
