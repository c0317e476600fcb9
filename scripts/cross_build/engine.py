"""The engine, compiled for one platform and installed into two folders: as an archive, and as in a wheel."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cross_build.commands import run
from cross_build.operators import hidden_operators
from cross_build.platforms import Platform
from cross_build.self_contained import add_runtime
from cross_build.tools import Tools, write_toolchain

SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """Folders that CMake installed into; ``wheel`` holds the package ``m3e_runtime``."""

    archive: Path
    wheel: Path


def build_engine(tools: Tools, platform: Platform) -> Installed:
    """Compile what has changed since the last time, and install it.

    Raises:
        Failure: CMake or a compiler fails.
    """
    folder = tools.work / platform.name
    toolchain = write_toolchain(tools, platform, folder / "toolchain")
    installed = Installed(folder / "archive", folder / "wheel")
    build, log = folder / "build", folder / "log.txt"
    log.unlink(missing_ok=True)
    operators = [hidden_operators(tools, folder)] if platform.system == "Darwin" else []
    linked = "".join(f" '{file}'" for file in operators)

    def cmake(*words: str | Path) -> str:
        return run([tools.cmake, *words], log, tools.variables)

    def install(to: Path, *options: str) -> None:
        cmake("-S", SOURCE, "-B", build, "-G", "Ninja", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}",
              "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib",
              f"-DCMAKE_SHARED_LINKER_FLAGS=-s{linked}", *options)  # fmt: skip
        cmake("--build", build)
        shutil.rmtree(to, ignore_errors=True)
        cmake("--install", build, "--prefix", to)

    install(installed.wheel, "-DM3E_WHEEL=ON", "-DM3E_CLI=OFF")
    # What programs need beside the static library: nothing where add_runtime follows; macOS has its own.
    runtime = "c++" if platform.system == "Darwin" else ""
    install(installed.archive, "-DM3E_WHEEL=OFF", "-DM3E_CLI=ON", f"-DM3E_CXX_RUNTIME={runtime}")
    if platform.system != "Darwin":
        add_runtime(tools, platform, folder, installed.archive / "lib" / "libm3e.a")
    return installed
