"""The build backend: scikit-build-core, told whether to build the native engine.

The variable ``M3E_NATIVE`` decides:

- unset or ``auto``: the engine is built where there is a C++ compiler. A build that fails is an error. The
  wheel is good for every Python on this platform (``py3-none-PLATFORM``).
- ``on``: the engine is built, and without a compiler that is an error too.
- ``off``: the engine is left out. The wheel is good for every machine (``py3-none-any``).

A wheel that lacks the engine for want of a compiler must not serve where there is one. pip keeps what it
builds from a source archive or a commit, and takes it again for the same source if the tags in its file
name fit (``pip._internal.cache``). So such a wheel gets a platform tag that fits nowhere. pip installs it all
the same: it does not look at the tags of a wheel that it has just built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scikit_build_core import build as backend
from scikit_build_core.build import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, Any] | None

_MODES = ("auto", "on", "off")

_COMPILERS = ("c++", "CC", "g++", "aCC", "cl", "bcc", "xlC", "icpx", "icx", "clang++")
"""What CMake looks for, from its CMakeDetermineCXXCompiler.cmake."""

_PIP_FOLDERS = ("pip-install-", "pip-req-build-")
"""pip unpacks here what it may keep a wheel of."""
_FITS_NOWHERE = "built_without_compiler"


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel, see PEP 517."""
    built = backend.build_wheel(wheel_directory, _with_mode(config_settings), metadata_directory)
    if _builds_engine() or _mode() == "off":
        return built
    sys.stderr.write("m3e-runtime: no C++ compiler was found, so this wheel has no native engine.\n")
    return _renamed(Path(wheel_directory) / built) if _is_unpacked_by_pip() else built


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel of an editable installation, see PEP 660. pip never keeps it."""
    return backend.build_editable(wheel_directory, _with_mode(config_settings), metadata_directory)


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """CMake and Ninja, where the engine is built and the system has none."""
    return backend.get_requires_for_build_wheel(_with_mode(config_settings))


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """As :func:`get_requires_for_build_wheel`."""
    return backend.get_requires_for_build_editable(_with_mode(config_settings))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """Write the metadata alone, see PEP 517."""
    return backend.prepare_metadata_for_build_wheel(metadata_directory, _with_mode(config_settings))


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    """Write the metadata alone, see PEP 660."""
    return backend.prepare_metadata_for_build_editable(metadata_directory, _with_mode(config_settings))


def _with_mode(config_settings: Settings) -> Settings:
    """The settings, changed to leave out the engine where it is not built."""
    if _builds_engine():
        return config_settings
    for_this_platform = "false" if _mode() == "off" else "true"
    pure = {"wheel.cmake": "false", "wheel.platlib": for_this_platform}
    return {**(config_settings or {}), **pure}


def _builds_engine() -> bool:
    mode = _mode()
    return mode == "on" or (mode == "auto" and _has_compiler())


def _mode() -> str:
    mode = os.environ.get("M3E_NATIVE", "").lower() or "auto"
    if mode not in _MODES:
        raise SystemExit(f"M3E_NATIVE={mode} is unknown; use one of {', '.join(_MODES)}.")
    return mode


def _has_compiler() -> bool:
    """Whether CMake would find a C++ compiler, or was told of one, which may not work."""
    if _is_told_of_compiler(os.environ):
        return True
    if sys.platform == "darwin":  # /usr/bin/c++ is always there; without the tools it only offers them
        return subprocess.run(["xcode-select", "-p"], capture_output=True, check=False).returncode == 0
    return any(shutil.which(name) for name in _COMPILERS)


def _is_told_of_compiler(variables: Mapping[str, str]) -> bool:
    """CMake reads the first two, and scikit-build-core the last."""
    named = variables.get("CXX") or variables.get("CMAKE_TOOLCHAIN_FILE")
    return bool(named) or "CMAKE_CXX_COMPILER" in variables.get("CMAKE_ARGS", "")


def _is_unpacked_by_pip() -> bool:
    return any(part.startswith(_PIP_FOLDERS) for part in Path.cwd().parts)


def _renamed(wheel: Path) -> str:
    name = wheel.stem.rpartition("-")[0]
    return wheel.rename(wheel.with_name(f"{name}-{_FITS_NOWHERE}.whl")).name
