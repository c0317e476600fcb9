"""The number of workers that fit into a cluster, and their threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from m3e_runtime.errors import OptionError

__all__ = ["Machine", "WorkerPool", "size_pool"]

THREADS = 8
"""Most threads of a worker by default. With more they would wait for Python's global lock."""


class Machine(NamedTuple):
    """Processors and GPUs of a machine."""

    cpus: int
    gpus: int


class WorkerPool(NamedTuple):
    """A number of workers, each with its own processors and GPUs."""

    workers: int
    cpus: int
    gpus: int


def size_pool(
    machines: Sequence[Machine], on_gpu: bool, threads: int | None, workers: int | None
) -> WorkerPool:
    """Plan one worker for each GPU, or as many as the processors allow.

    Args:
        machines: machines of the cluster.
        on_gpu: whether each worker has a GPU.
        threads: processors of each worker. By default up to :data:`THREADS`, or with GPUs an equal share.
        workers: number of workers. By default as many as fit; more are allowed, for clusters that grow.

    Raises:
        OptionError: no worker fits.
    """
    usable = [each for each in machines if each.cpus and (each.gpus or not on_gpu)]
    share = min((each.cpus // each.gpus if on_gpu else each.cpus for each in usable), default=0)
    cpus = threads or max(1, share if on_gpu else min(share, THREADS))
    room = sum(min(each.cpus // cpus, each.gpus if on_gpu else each.cpus) for each in usable)
    if not room:
        gpu = " and a GPU" if on_gpu else ""
        raise OptionError(f"no machine of the cluster has {cpus} processors{gpu} for a worker.")
    return WorkerPool(workers or room, cpus, int(on_gpu))
