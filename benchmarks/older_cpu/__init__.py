"""Runs the contestants as on an older x86 processor, for those who have only a new one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["PROCESSORS", "pretend"]

PROCESSORS = {
    "avx2": ("avx2",),
    "avxvnni": ("avx2", "avx_vnni"),
    "avx512vnni": ("avx2", "avx512f", "avx_vnni", "avx512_vnni"),
}
"""Name → flags of /proc/cpuinfo that are left."""


def pretend(processor: str, folder: Path) -> None:
    """Let every program that this one starts see ``processor``; ``folder`` keeps the compiled shim.

    Raises:
        RuntimeError: no C compiler, or not Linux on x86-64.
    """
    shim = folder / "older_cpu.so"
    source = Path(__file__).with_name("older_cpu.c")
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(shim), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise RuntimeError(f"--processor needs a C compiler on x86-64 Linux: {reason}") from error
    os.environ["LD_PRELOAD"] = str(shim)
    os.environ["M3E_PROCESSOR"] = processor
