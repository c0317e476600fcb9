"""operator new and delete that a library for macOS keeps to itself."""

from __future__ import annotations

from pathlib import Path

from cross_build.commands import run
from cross_build.tools import Tools


def hidden_operators(tools: Tools, folder: Path) -> Path:
    """Compile libc++abi's operators again, hidden; returns the object.

    zig's linker for macOS exports what is visible, whatever the list of exported symbols says. zig's own
    libc++abi has visible and weak operators, so the system would let other libraries of a process use them.

    Raises:
        Failure: zig fails.
    """
    libraries, compiled = tools.zig.parent / "lib", folder / "operators.o"
    run(
        [
            folder / "toolchain" / "c++", "-O2", "-std=c++23", "-fvisibility=hidden",
            "-fvisibility-global-new-delete=force-hidden", "-D_LIBCPP_BUILDING_LIBRARY",
            "-I", libraries / "libcxxabi" / "include", "-I", libraries / "libcxx" / "src",
            "-c", libraries / "libcxxabi" / "src" / "stdlib_new_delete.cpp", "-o", compiled,
        ],
        folder / "log.txt",
        tools.variables,
    )  # fmt: skip
    return compiled
