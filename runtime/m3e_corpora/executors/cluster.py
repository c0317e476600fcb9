"""How many workers a cluster has room for, and with how many threads each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from m3e_runtime.errors import OptionError

__all__ = ["Machine", "WorkerPlan", "plan_workers"]

THREADS = 8
"""Most threads of a worker unless asked for: beyond, Python's own lock is what they wait for."""


class Machine(NamedTuple):
    """Processors and GPUs of a machine that work can be given to."""

    cpus: int
    gpus: int


class WorkerPlan(NamedTuple):
    """So many workers, each with so many processors and GPUs."""

    workers: int
    cpus: int
    gpus: int


def plan_workers(
    machines: Sequence[Machine], on_gpu: bool, threads: int | None, workers: int | None
) -> WorkerPlan:
    """A worker for each GPU, or as many as processors allow.

    Args:
        machines: of the cluster.
        on_gpu: each worker has a GPU.
        threads: processors of each worker, by default up to :data:`THREADS`, or a GPU's share of its machine.
        workers: by default as many as there is room for; more may be asked of a cluster that grows.

    Raises:
        OptionError: there is room for none.
    """
    usable = [each for each in machines if each.cpus and (each.gpus or not on_gpu)]
    share = min((each.cpus // each.gpus if on_gpu else each.cpus for each in usable), default=0)
    cpus = threads or max(1, share if on_gpu else min(share, THREADS))
    room = sum(min(each.cpus // cpus, each.gpus if on_gpu else each.cpus) for each in usable)
    if not room:
        gpu = " and a GPU" if on_gpu else ""
        raise OptionError(f"no machine of the cluster has {cpus} processors{gpu} to give to a worker.")
    return WorkerPlan(workers or room, cpus, int(on_gpu))
