"""Asynchronous encoding: many callers share one engine.

:mod:`~m3e_runtime.scheduling.admission` rejects requests when too much is waiting,
:mod:`~m3e_runtime.scheduling.queue` decides whose texts the engine computes next, and
:mod:`~m3e_runtime.scheduling.pace` how many of them at once.
"""

from m3e_runtime.scheduling.async_encoder import AsyncEncoder
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, RunReport

__all__ = ["AsyncEncoder", "Encoded", "Priority", "QueueLimits", "RunReport"]
