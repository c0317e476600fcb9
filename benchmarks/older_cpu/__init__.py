"""Runs the contestants as on an older x86 processor, for those who have only a new one."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from pathlib import Path

__all__ = ["PROCESSORS", "pretend"]

PROCESSORS = {
    "avx2": ("avx2",),
    "avxvnni": ("avx2", "avx_vnni"),
    "avx512vnni": ("avx2", "avx512f", "avx_vnni", "avx512_vnni"),
}
"""Name → flags of /proc/cpuinfo that are left."""

_ARCH_PRCTL, _SET_CPUID = 158, 0x1012  # x86-64's number of the call; asm/prctl.h


def pretend(processor: str, folder: Path) -> None:
    """Let every program that this one starts see ``processor``; ``folder`` keeps the compiled shim.

    Raises:
        RuntimeError: no C compiler, not Linux on x86-64, or a processor that cannot make CPUID trap.
    """
    linux = (platform.system(), platform.machine()) == ("Linux", "x86_64")
    let_cpuid_run = 1  # as it does already: this only asks whether it could be made to trap
    if not linux or ctypes.CDLL(None).syscall(_ARCH_PRCTL, _SET_CPUID, let_cpuid_run):
        raise RuntimeError("--processor: CPUID cannot be made to trap on this processor or virtual machine.")
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
