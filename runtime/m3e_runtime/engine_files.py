"""Where the wheel puts the engine. Reading this does not load the library."""

from __future__ import annotations

import sys
from pathlib import Path

import m3e_runtime

__all__ = ["library_file"]

_NAMES = {"win32": ("m3e.dll",), "darwin": ("libm3e.dylib",)}
_ELF = ("libm3e.so.2", "libm3e.so")


def library_file() -> Path | None:
    """The shared library, or None if it was not built.

    It lies in ``m3e_runtime/engine/lib``. In an editable installation that is not beside the source.
    """
    folders = [Path(folder, "engine", "lib") for folder in m3e_runtime.__path__]
    files = (folder / name for folder in folders for name in _NAMES.get(sys.platform, _ELF))
    return next((file for file in files if file.is_file()), None)
