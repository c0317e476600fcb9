"""The thread that runs the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from m3e_runtime.loaded_model import LoadedModel
from m3e_runtime.planning import Batch
from m3e_runtime.scheduling.lane import Lane
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.queue import FairQueue, Run
from m3e_runtime.scheduling.request import Request, RunReport
from m3e_runtime.token_outputs import TokenResult

__all__ = ["EngineThread", "Outcome"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: ``report`` if it was computed, else ``error``."""

    run: Run
    report: RunReport | None = None
    error: Exception | None = None


class EngineThread:
    """Starts the next run as soon as the engine is idle, so texts are batched only while it is busy.

    The inbox is all that is shared with other threads. There are no locks.

    Args:
        model: computes the vectors or logits.
        pace: chooses the size of runs.
        deliver: called in this thread with the outcome of each run.
        lane: where the engine waits for its turn; None: it has its own.
    """

    def __init__(
        self,
        model: LoadedModel,
        pace: Pace,
        deliver: Callable[[Outcome], None],
        lane: Lane | None = None,
    ) -> None:
        self.pace = pace
        self._model = model
        self._lane = lane or Lane()
        self._deliver = deliver
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._queue = FairQueue()
        self._thread = threading.Thread(target=self._main, name="m3e-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, request: Request) -> None:
        """Add a request with at least one text. Thread-safe."""
        self._inbox.put(request)

    def close(self) -> None:
        """Compute what was submitted, then end the thread. Blocks; for other threads only."""
        self.end()
        if self.alive:
            self._thread.join()

    def end(self) -> None:
        """As :meth:`close`, without waiting for it."""
        if self.alive:
            self._inbox.put(None)

    def _main(self) -> None:
        open_ = True
        while open_ or self._queue:
            open_ = self._receive(wait=not self._queue) and open_
            asked = time.perf_counter()
            with self._lane.turn(self) as shared:
                start = time.perf_counter()
                open_ = self._receive(wait=False) and open_  # what came while it waited for its turn
                budget, speed = self.pace.budget(self._queue.work, shared), self.pace.tokens_per_second
                run = self._queue.take(budget, speed, start)
                outcome = self._execute(run, start - asked) if run.texts else None
            if outcome is not None:
                self._deliver(outcome)

    def _receive(self, wait: bool) -> bool:
        """Move submitted requests to the queue. Returns False once the thread is to end."""
        try:
            request = self._inbox.get(block=wait)
            while request is not None:
                self._queue.add(request, self.pace.tokens_per_second)
                request = self._inbox.get_nowait()
        except Empty:
            return True
        return False

    def _execute(self, run: Run, waited: float) -> Outcome:
        start = time.perf_counter()
        try:
            computed = self._compute(run, start)
        except Exception as error:  # the callers get any error, and the thread goes on
            logger.error("a run of %d texts failed: %s", len(run.texts), type(error).__name__)
            return Outcome(run, error=error)
        seconds = time.perf_counter() - start
        self.pace.record(run.work, seconds, waited)
        return Outcome(run, RunReport(len(run.texts), run.tokens, computed, seconds))

    def _compute(self, run: Run, now: float) -> int:
        """Write the vectors of the texts into their requests. Returns the computed tokens, with padding."""
        whole, in_parts = run.divided()
        computed = self._compute_whole(whole, now) if whole.texts else 0
        return computed + (self._compute_parts(in_parts, now) if in_parts.texts else 0)

    def _compute_whole(self, run: Run, now: float) -> int:
        computed = 0
        for batch, vectors, tokens in self._batches(run):
            computed += batch.tokens
            for position, vector, result in zip(batch.indices.tolist(), vectors, tokens, strict=True):
                request, index = run.texts[position]
                request.store(index, vector, now)
                if result is not None and request.wanted:
                    request.token_results[index] = result
        return computed

    def _compute_parts(self, run: Run, now: float) -> int:
        """Texts whose parts have vectors. The states of tokens are kept no longer than for a batch."""
        computed = 0
        for batch, _, states in self._model.run_states(run.token_ids()):
            computed += batch.tokens
            for position, of_text in zip(batch.indices.tolist(), states, strict=True):
                request, index = run.texts[position]
                assert request.parts is not None  # noqa: S101 - so they were divided
                request.store(index, request.parts.pooled(index, of_text), now)
        return computed

    def _batches(
        self, run: Run
    ) -> Iterator[tuple[Batch, npt.NDArray[np.float32], Sequence[TokenResult | None]]]:
        """Compute a run; the outputs of tokens are None if no request asks for any."""
        token_ids, lengths, wanted = run.token_ids(), run.prompt_lengths(), run.wanted()
        if wanted:
            yield from self._model.run_outputs(token_ids, wanted, None, lengths)
            return
        for batch, vectors in self._model.run(token_ids, None, lengths, run.token_types()):
            yield batch, vectors, [None] * len(vectors)
