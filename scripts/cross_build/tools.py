"""zig, CMake and Ninja in an environment of their own, and how CMake compiles with zig."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cross_build.commands import run
from cross_build.platforms import Platform

PACKAGES = ("ziglang==0.17.1", "cmake>=3.18", "ninja")
"""From PyPI. Another zig is another compiler: the benchmarks belong to this one."""


@dataclass(frozen=True)
class Tools:
    """Programs that build, and the folder that they work in."""

    work: Path
    python: Path
    zig: Path

    @property
    def cmake(self) -> Path:
        """The program ``cmake``."""
        return self.python.with_name("cmake")

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment, for each build."""
        return {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "ZIG_GLOBAL_CACHE_DIR": str(self.work / "zig-cache"),
            "ZIG_LOCAL_CACHE_DIR": str(self.work / "zig-cache"),
        }


def install_tools(work: Path) -> Tools:
    """Install :data:`PACKAGES` below ``work``, if they are not there.

    Raises:
        Failure: there is no ``venv``, or a package cannot be installed.
    """
    folder, log = work / "tools", work / "tools.log"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file() or done.read_text() != " ".join(PACKAGES):
        run([sys.executable, "-m", "venv", "--clear", folder], log)
        run([python, "-m", "pip", "install", "-q", *PACKAGES], log)
        done.write_text(" ".join(PACKAGES))
    found = run([python, "-c", "import ziglang; print(ziglang.__path__[0])"], log)
    return Tools(work, python, Path(found.strip()) / "zig")


def _script(file: Path, command: str) -> Path:
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o755)
    return file


def write_toolchain(tools: Tools, platform: Platform, folder: Path) -> Path:
    """Write CMake's toolchain file for ``platform``, and the compilers that it names, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    zig, target = f"'{tools.zig}'", f"-target {platform.target} -g0"
    programs = {
        "CMAKE_C_COMPILER": _script(folder / "cc", f"{zig} cc {target}"),
        "CMAKE_CXX_COMPILER": _script(folder / "c++", f"{zig} c++ {target}"),
        "CMAKE_AR": _script(folder / "ar", f"{zig} ar"),
        "CMAKE_RANLIB": _script(folder / "ranlib", f"{zig} ranlib"),
        "CMAKE_RC_COMPILER": _script(folder / "rc", f"{zig} rc"),
        # CMake does not start without one for macOS. Nothing is left for it to do: see the next line.
        "CMAKE_INSTALL_NAME_TOOL": _script(folder / "install_name_tool", "true"),
        "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
        "CMAKE_INSTALL_NAME_DIR": "@rpath",
        "CMAKE_SYSTEM_NAME": platform.system,
        "CMAKE_SYSTEM_PROCESSOR": platform.processor,
        "CMAKE_EXE_LINKER_FLAGS_INIT": "-s",
    }
    file = folder / "toolchain.cmake"
    file.write_text("".join(f'set({name} "{value}")\n' for name, value in programs.items()))
    return file
