"""What a site changes, and the tree the ISO is built from."""

import hashlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.role import Role
from payload.model.settings import (
    THIS_MACHINE,
    After,
    Settings,
    read_kernel_line,
    read_site_toml,
)
from tests.support.iso_build import load_iso_build

PROJECT = Path(__file__).resolve().parents[2]
SITE = PROJECT / "iso-config"
TREE = PROJECT / "live-build"
UNITS = PROJECT / "autorun" / "etc" / "systemd" / "system"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return load_iso_build()


def test_site_toml_as_shipped_changes_nothing() -> None:
    assert read_site_toml(Settings(), (SITE / "site.toml").read_text()) == Settings()


def test_site_toml_shows_every_setting_with_its_default() -> None:
    text = (SITE / "site.toml").read_text()
    shown = re.sub(r"^# ([a-z-]+ = )", r"\1", text, flags=re.MULTILINE)

    assert shown.count(" = ") >= len(Settings.__dataclass_fields__)
    assert read_site_toml(Settings(role=None, countdown=1, port=1), shown) == Settings()
    keys = set(re.findall(r"^([a-z-]+) = ", shown, flags=re.MULTILINE)) - {"source", "target"}
    fields = {name for name in Settings.__dataclass_fields__ if not name.startswith("after_")}
    assert keys == {name.replace("_", "-") for name in fields}


def test_boot_menu_entries_set_what_they_promise() -> None:
    entries = re.findall(
        r'^menuentry "(.*?)" \{\n(.*?)^\}', (SITE / "grub.cfg").read_text(), re.M | re.S
    )
    titles = [title.split(":")[0] for title, _ in entries]
    starting = "Start the system on this machine's disk"
    assert titles == ["Automatic", "Look only", starting, "Source"]
    assert read_kernel_line(Settings(), entries[0][1]) == Settings()
    look = read_kernel_line(Settings(), entries[1][1])
    assert look.dry_run
    assert look.after_source is look.after_target is After.STAY
    assert read_kernel_line(Settings(), entries[3][1]) == Settings(role=Role.SOURCE)


def test_what_is_typed_behind_live_is_this_machine_s_own() -> None:
    """The menu's own words come first; `e` shows a person the call `live` alone."""
    menu = (SITE / "grub.cfg").read_text()
    lines = re.findall(r"^\s*linux (.*)$", menu, re.M)
    assert lines == [f'$live/vmlinuz $parameters {THIS_MACHINE} "$@"']
    assert re.findall(r'^set parameters=".*\$site_parameters"$', menu, re.M)


@pytest.mark.parametrize(
    "word", ["$medium", "noswap", "noresume", "systemd.gpt_auto=0",
             "raid=noautodetect", "nofstab", "nonetworking", "vsyscall=emulate"],
)  # fmt: skip
def test_kernel_line_leaves_the_disks_alone(word: str) -> None:
    lines = (SITE / "grub.cfg").read_text().splitlines()
    words = [
        w.strip('"') for line in lines if line.startswith("set parameters=") for w in line.split()
    ]
    assert word in words


def test_the_menu_gets_all_it_asks_for(build: ModuleType) -> None:
    settings = build.menu_settings("/live", "live-media=/dev/disk/by-uuid/1", 5, "console=ttyS1")
    menu = (SITE / "grub.cfg").read_text()
    given = set(re.findall(r"^set (\w+)=", settings, re.M))
    own = {"parameters", "partition", "loader", "disk", "root", "prefix", "grub_platform"}
    code = re.sub(r"^#.*", "", menu, flags=re.M)
    assert set(re.findall(r"\$(\w+)", code)) - own | {"timeout"} == given


def test_the_network_menu_lets_live_boot_fetch_the_iso_alone(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, iso = tmp_path / "base", tmp_path / "made.iso"
    (base / "boot-images").mkdir(parents=True)
    for name in ("pxe.0", "bootx64.efi", "grubnetx64.efi", "initrd-network.img"):
        (base / "boot-images" / name).write_text(name)
    for path in (base / "vmlinuz", iso):
        path.write_text(path.name)
    iso.chmod(0o600)
    monkeypatch.setattr(build, "WORK", tmp_path)
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    build.lay_out_network(tmp_path / "pxe", iso, 5, "failover.countdown=60")
    settings = (tmp_path / "pxe/grub/settings.cfg").read_text()
    fetched = "http://$net_default_server/ugs-failover/ugs-failover.iso"
    digest = hashlib.sha256(b"made.iso").hexdigest()
    medium = f"fetch={fetched} fetch.sha256={digest} BOOTIF=01-$net_default_mac"
    assert f'set medium="{medium}"' in settings
    assert read_kernel_line(Settings(), medium) == Settings(), "the payload takes it for its own"
    assert 'set live="/ugs-failover"' in settings and "failover.countdown=60" in settings
    assert "live-media" not in settings
    given = tmp_path / "pxe/ugs-failover"
    assert {path.name: path.read_text() for path in given.iterdir()} == {
        "pxe.0": "pxe.0",
        "bootx64.efi": "bootx64.efi",
        "grubx64.efi": "grubnetx64.efi",
        "vmlinuz": "vmlinuz",
        "initrd.img": "initrd-network.img",
        "ugs-failover.iso": "made.iso",
    }
    assert (given / "ugs-failover.iso").stat().st_mode & 0o077 == 0


def test_no_package_that_assembles_disks_by_itself() -> None:
    lists = (TREE / "config" / "package-lists").glob("*.list.chroot")
    lines = [line.partition("#")[0] for path in lists for line in path.read_text().splitlines()]
    packages = [word for line in lines for word in line.split()]
    assert len(packages) == len(set(packages))
    assemblers = "lvm2 mdadm dmraid multipath-tools cryptsetup cryptsetup-initramfs udisks2"
    others = "bcache-tools open-iscsi zfsutils-linux live-config"
    assert not {*assemblers.split(), *others.split()} & set(packages)


def test_the_unit_is_started_and_shows_its_failure() -> None:
    wanted = UNITS / "multi-user.target.wants" / "ugs-failover.service"
    unit = wanted.resolve(strict=True).read_text()
    failure = re.search(r"^OnFailure=(\S+)$", unit, re.M)
    assert failure is not None
    shown = re.search(r"^ExecStart=(\S+)$", (UNITS / failure[1]).read_text(), re.M)
    assert shown is not None
    assert (PROJECT / "autorun" / shown[1].lstrip("/")).stat().st_mode & 0o111


def test_the_unit_starts_when_every_device_is_announced_and_waits_for_none() -> None:
    """The payload waits for udev itself, and would see nothing to wait for any earlier."""
    unit = (UNITS / "ugs-failover.service").read_text()
    after = re.search(r"^After=(.*)$", unit, re.M)
    assert after is not None and "systemd-udev-trigger.service" in after[1].split()
    assert "settle.service" not in unit


def test_the_write_blocker_is_the_same_in_the_initramfs() -> None:
    included = TREE / "config" / "includes.chroot_before_packages"
    hook = (included / "etc/initramfs-tools/hooks/ugs-failover-write-block").read_text()
    rules = re.search(r"^rules=/(\S+)$", hook, re.M)
    assert rules is not None
    assert (included / rules[1]).is_file()
    first = min(path.name for path in (included / rules[1]).parent.iterdir())
    assert first.startswith("01-")  # before 60-persistent-storage looks into the disk


def test_kernel_parameters_join_file_and_option(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SITE_CONFIGURATION", tmp_path)
    (tmp_path / "kernel-parameters").write_text("# why\nfailover.countdown=60  # long\n\n a b\n")
    assert build.kernel_parameters("failover.port=1") == "failover.countdown=60 a b failover.port=1"


@given(st.text(max_size=40))
def test_kernel_parameters_never_end_the_menus_string(build: ModuleType, text: str) -> None:
    try:
        line = build.kernel_parameters(text)
    except build.BuildError:
        return
    assert not set(line) & set("\"'`\\$;|&<>{}\n\r")


def test_a_digest_changes_with_name_mode_and_content(build: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    digests = [build.digest_of([file]), build.digest_of([file], "word")]
    file.chmod(0o700)
    digests.append(build.digest_of([file]))
    file.write_text("b")
    digests.append(build.digest_of([file]))
    digests.append(build.digest_of([file.rename(tmp_path / "other")]))
    assert len(set(digests)) == len(digests)


def test_a_product_is_current_only_with_its_key(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "WORK", tmp_path)
    (tmp_path / "stamps").mkdir()
    product = tmp_path / "product"
    product.mkdir()
    assert not build.is_current(product, "key")
    build.mark_current(product, "key")
    assert build.is_current(product, "key")
    assert not build.is_current(product, "another")
    product.rmdir()
    assert not build.is_current(product, "key")


def test_mirrors_are_those_of_this_machine(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "host_release", lambda: "one")
    listing = (
        "http://a/debian/ one main\nhttp://b/debian/ one contrib\nhttp://c/sec/ one-security main\n"
    )
    monkeypatch.setattr(build, "output_of", lambda *_argv: listing)
    assert build.mirrors() == ("http://a/debian/", "http://c/sec/")
    monkeypatch.setattr(build, "output_of", lambda *_argv: "http://a/debian/ two main\n")
    with pytest.raises(build.BuildError, match="one main"):
        build.mirrors()


def test_half_a_site_key_is_not_replaced(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SITE_CONFIGURATION", tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.key").write_text("key")
    with pytest.raises(build.BuildError, match=r"site\.crt is missing"):
        build.site_files()
    assert (tmp_path / "site" / "site.key").read_text() == "key"
