"""Asynchronous encoding and scoring: many callers share one engine.

:mod:`~m3e_runtime.scheduling.admission` rejects requests when too much is waiting,
:mod:`~m3e_runtime.scheduling.queue` decides whose texts the engine computes next, and
:mod:`~m3e_runtime.scheduling.pace` how many of them at once. The engines of several models take turns in a
:class:`Lane`.
"""

from m3e_runtime.scheduling.async_encoder import AsyncEncoder
from m3e_runtime.scheduling.async_reranker import AsyncReranker
from m3e_runtime.scheduling.lane import Lane
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, RunReport

__all__ = ["AsyncEncoder", "AsyncReranker", "Encoded", "Lane", "Priority", "QueueLimits", "RunReport"]
