"""`live-build/build`, the program that builds the ISO, as a module."""

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).resolve().parents[2] / "live-build" / "build"


def load_iso_build() -> ModuleType:
    loader = SourceFileLoader("iso_build", str(PROGRAM))
    spec = importlib.util.spec_from_loader("iso_build", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
