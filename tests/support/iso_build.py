"""`live-build/build`, the program that builds the ISO, as a module."""

import importlib.util
import shutil
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = PROJECT / "live-build" / "build"
BOOT_IMAGES = ("eltorito.img", "boot_hybrid.img", "bootx64.efi", "grubx64.efi", "grubnetx64.efi",
               "pxe.0", "initrd-network.img")  # fmt: skip


def load_iso_build() -> ModuleType:
    loader = SourceFileLoader("iso_build", str(PROGRAM))
    spec = importlib.util.spec_from_loader("iso_build", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def small_iso_build(directory: Path, site_key: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with a site of its own below `directory`, and with two layers that are there
    already: a live system and a payload of a few bytes, which start nothing."""
    program = load_iso_build()
    work, site = directory / "work", directory / "iso-config"
    (work / "stamps").mkdir(parents=True)
    shutil.copytree(PROJECT / "iso-config", site, ignore=shutil.ignore_patterns("site"))
    _make_site(site / "site", site_key)
    base, payload = work / "base", work / "zz-payload.squashfs"
    (base / "boot-images").mkdir(parents=True)
    for name in BOOT_IMAGES:
        # A boot record, and images in which xorriso finds room for its table.
        content = bytes(512 if name == "boot_hybrid.img" else 1 << 16)
        (base / "boot-images" / name).write_bytes(content)
    for path in (base / "vmlinuz", base / "initrd.img", base / "filesystem.squashfs", payload):
        path.write_text(path.name)
    monkeypatch.setattr(program, "WORK", work)
    monkeypatch.setattr(program, "SITE_CONFIGURATION", site)
    monkeypatch.setattr(program, "build_system", lambda **_: base)
    monkeypatch.setattr(program, "build_payload", lambda: payload)
    for product in (base, payload):
        program.mark_current(product, "made")
    return program


def _make_site(directory: Path, key: str) -> None:
    directory.mkdir(mode=0o700)
    for name, text in (("site.key", key), ("site.crt", "certificate")):
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(text)
