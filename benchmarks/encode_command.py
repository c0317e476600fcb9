"""``m3e-encode`` in a process of its own, and the memory that it takes over time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

__all__ = ["EncodeCommand"]

_INTERVAL = 0.1
_CURVE = 200
"""Points that are kept of the memory over time."""


class EncodeCommand:
    """One command, run as often as wanted."""

    def __init__(self, bundle: Path, file: Path, output: Path, threads: int, *more: str) -> None:
        arguments = [
            bundle,
            file,
            "-o",
            output,
            "--threads",
            threads,
            "--json",
            "--no-progress",
            "--force",
            *more,
        ]
        self._command = [sys.executable, "-m", "m3e_corpora.cli", *map(str, arguments)]

    def run(self) -> dict[str, Any]:
        """Seconds from start to end of the process, its processor time and memory, and its own summary."""
        start = time.perf_counter()
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        memory, cpu_seconds = _watch(psutil.Process(process.pid))
        seconds = time.perf_counter() - start
        summary, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"m3e-encode ended with {process.returncode}")
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "memory": _describe(memory),
            "summary": {name: value for name, value in json.loads(summary).items() if name != "output"},
        }


def _watch(process: psutil.Process) -> tuple[list[int], float]:
    """Resident bytes at regular times until the process ends, and the processor time that it used."""
    memory, cpu_seconds = [], 0.0
    while process.status() != psutil.STATUS_ZOMBIE:
        with process.oneshot():
            times = process.cpu_times()
            resident = process.memory_info().rss
        memory += [resident] if resident else []  # none of a process that has just ended
        cpu_seconds = times.user + times.system
        time.sleep(_INTERVAL)
    return memory, cpu_seconds


def _describe(memory: list[int]) -> dict[str, Any]:
    """The highest value of all, of the first and the last quarter, and a thinned curve."""
    quarter = max(1, len(memory) // 4)
    step = max(1, len(memory) // _CURVE)
    return {
        "peak": max(memory),
        "early": max(memory[:quarter]),
        "late": max(memory[-quarter:]),
        "every_s": _INTERVAL * step,
        "curve": [max(memory[at : at + step]) for at in range(0, len(memory), step)],
    }
