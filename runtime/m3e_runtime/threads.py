"""The number of threads that this process can use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["available_threads"]


def available_threads() -> int:
    """Return the number of physical cores in the affinity mask, capped by the cgroup quota.

    Hyper-threads of one core share its multiply units: a second one does not speed up matrix products.
    Containers limit processors by quota more often than by affinity. Engines that only count the cores of
    the machine are slowed down by throttling.
    """
    count = _physical_cores(_affinity())
    quota = _cgroup_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(cpus: set[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    cores = set()
    for cpu in cpus:
        try:
            siblings = (root / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            siblings = str(cpu)
        cores.add(siblings)
    return max(1, len(cores))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Processor quota in cores (cgroup v2, then v1), or None."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period_us if quota > 0 and period_us > 0 else None
