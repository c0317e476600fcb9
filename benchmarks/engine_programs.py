"""Programs of the native engine that measure its insides, built when a benchmark needs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["build_program"]

_ROOT = Path(__file__).resolve().parents[1]


def build_program(name: str) -> Path:
    """Build a program of ``runtime/native/bench``. CMake and a C++ compiler are needed.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    folder = _ROOT / "build" / "bench"
    for command in (
        ["cmake", "-S", _ROOT, "-B", folder, "-DM3E_BENCH=ON"],
        ["cmake", "--build", folder, "--parallel", "--target", name],
    ):
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return next(path for path in folder.rglob(name) if path.is_file())
