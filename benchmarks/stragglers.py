"""Simulation of a job on many workers: some are slow, some die, and the last partition ends the job.

A worker that is free takes the next partition. Durations are the partition's work by the worker's speed,
times noise. A worker that dies loses its partition, which is done again, and comes back after a while.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

__all__ = ["Cluster", "Waste", "simulate"]


@dataclass(frozen=True)
class Cluster:
    """Assumptions; none of them is measured.

    Args:
        workers: how many.
        speed_spread: standard deviation of the logarithm of a worker's speed.
        slow_share: share of workers that have half of their speed, by a noisy neighbour or a hot processor.
        noise: standard deviation of the logarithm of a partition's duration beyond that.
        mean_hours_to_failure: of a worker; machines that may be taken away at any time live about a day.
        restart_seconds: until a worker that died takes work again.
        overhead_seconds: of each partition: dispatch, filling and emptying the pipeline, closing the file.
    """

    workers: int
    speed_spread: float = 0.1
    slow_share: float = 0.02
    noise: float = 0.1
    mean_hours_to_failure: float = 24.0
    restart_seconds: float = 120.0
    overhead_seconds: float = 1.0


@dataclass(frozen=True)
class Waste:
    """Shares of the worker time of a whole job that bring no vectors.

    ``lost`` was computed by workers that died, or passed until they were back; ``overhead`` is that of
    partitions; in ``tail`` a worker found nothing left to begin, and others were still at work.
    """

    lost: float
    overhead: float
    tail: float

    @property
    def total(self) -> float:
        """All three."""
        return self.lost + self.overhead + self.tail


def simulate(cluster: Cluster, job_seconds: float, partition_seconds: float, seed: int) -> Waste:
    """A job that takes all workers, at their nominal speed, ``job_seconds`` together.

    Args:
        cluster: the workers.
        job_seconds: work of the whole job, in seconds of the cluster.
        partition_seconds: work of a partition, in seconds of a worker.
        seed: of all that is random.
    """
    random = np.random.default_rng(seed)
    speeds = np.exp(random.normal(0, cluster.speed_spread, cluster.workers))
    speeds[random.random(cluster.workers) < cluster.slow_share] /= 2
    partitions = max(1, round(job_seconds * cluster.workers / partition_seconds))
    draw = _Draws(random, cluster)
    free = [(0.0, worker) for worker in range(cluster.workers)]
    lost = overhead = 0.0
    ends = np.zeros(cluster.workers)
    while partitions:
        now, worker = heapq.heappop(free)
        seconds = cluster.overhead_seconds + partition_seconds * draw.noise() / speeds[worker]
        alive = draw.seconds_to_failure()
        if alive < seconds:
            lost += alive + cluster.restart_seconds
            now += alive + cluster.restart_seconds
        else:
            overhead += cluster.overhead_seconds
            now += seconds
            ends[worker] = now
            partitions -= 1
        heapq.heappush(free, (now, worker))
    end = ends.max()
    idle = sum(max(0.0, end - now) for now, _ in free)
    time = end * cluster.workers
    return Waste(lost / time, overhead / time, idle / time)


class _Draws:
    """Random numbers, drawn in blocks: one at a time would take most of the simulation."""

    _BLOCK = 1 << 16

    def __init__(self, random: np.random.Generator, cluster: Cluster) -> None:
        self._random = random
        self._cluster = cluster
        self._noise: list[float] = []
        self._alive: list[float] = []

    def noise(self) -> float:
        """A factor of a duration."""
        if not self._noise:
            self._noise = np.exp(self._random.normal(0, self._cluster.noise, self._BLOCK)).tolist()
        return self._noise.pop()

    def seconds_to_failure(self) -> float:
        """How long a worker lives on; however long it has lived, so it may be drawn for each partition."""
        if not self._alive:
            mean = self._cluster.mean_hours_to_failure * 3600
            self._alive = self._random.exponential(mean, self._BLOCK).tolist()
        return self._alive.pop()
