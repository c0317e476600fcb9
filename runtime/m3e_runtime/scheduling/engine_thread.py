"""The thread that runs the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from m3e_runtime.encoder import Encoder
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.queue import FairQueue, Pack
from m3e_runtime.scheduling.request import Request, RunReport

__all__ = ["EngineThread", "Outcome"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a pack: ``report`` where it was computed, else ``error``."""

    pack: Pack
    report: RunReport | None = None
    error: Exception | None = None


class EngineThread:
    """Takes what waits as soon as it is idle, so that packs form only while it is busy.

    Nothing but the inbox is shared with other threads, and nothing is locked.

    Args:
        encoder: what computes.
        pace: how much at once.
        deliver: called in this thread with what became of each pack.
    """

    def __init__(self, encoder: Encoder, pace: Pace, deliver: Callable[[Outcome], None]) -> None:
        self.pace = pace
        self._encoder = encoder
        self._deliver = deliver
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._queue = FairQueue()
        self._thread = threading.Thread(target=self._work, name="m3e-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive()

    def submit(self, request: Request) -> None:
        """Hand over a request with at least one text; from any thread."""
        self._inbox.put(request)

    def end(self) -> None:
        """Wait until what was submitted is computed and the thread has ended; from any other thread."""
        if self.alive:
            self._inbox.put(None)
            self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_ or self._queue:
            open_ = self._collect(wait=not self._queue) and open_
            budget, speed = self.pace.budget(self._queue.tokens), self.pace.tokens_per_second
            pack = self._queue.take(budget, speed, time.perf_counter())
            if pack.places:
                self._deliver(self._run(pack))

    def _collect(self, wait: bool) -> bool:
        """Take in what was submitted; false once that is the end."""
        try:
            request = self._inbox.get(block=wait)
            while request is not None:
                self._queue.add(request, self.pace.tokens_per_second)
                request = self._inbox.get_nowait()
        except Empty:
            return True
        return False

    def _run(self, pack: Pack) -> Outcome:
        start = time.perf_counter()
        try:
            computed = self._compute(pack, start)
        except Exception as error:  # whatever it is, the callers are told and the others go on
            logger.error("a run of %d texts failed: %s", len(pack.places), type(error).__name__)
            return Outcome(pack, error=error)
        seconds = time.perf_counter() - start
        self.pace.ran(pack.tokens, seconds)
        return Outcome(pack, RunReport(len(pack.places), pack.tokens, computed, seconds))

    def _compute(self, pack: Pack, now: float) -> int:
        """Write the vectors of the texts into their requests; returns the tokens computed for that."""
        computed = 0
        for batch, vectors in self._encoder.run(pack.token_ids(), None, pack.prompt_lengths()):
            computed += batch.tokens
            for position, vector in zip(batch.indices.tolist(), vectors, strict=True):
                request, index = pack.places[position]
                _store(request, index, vector, now)
        return computed


def _store(request: Request, index: int, vector: npt.NDArray[np.float32], now: float) -> None:
    if request.vectors is None:
        request.started = now
        request.vectors = np.empty((len(request.token_ids), len(vector)), dtype=np.float32)
    request.vectors[index] = vector
