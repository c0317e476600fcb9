"""Many asynchronous callers, one engine: who is computed next, with whom, and who has to come back later."""

from m3e_runtime.scheduling.async_encoder import AsyncEncoder
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, RunReport

__all__ = ["AsyncEncoder", "Encoded", "Priority", "QueueLimits", "RunReport"]
