"""What the asynchronous encoder and reranker share: one engine for the calls of many asyncio tasks."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

import numpy as np

from m3e_runtime.errors import ClosedError, EngineRunError, M3EError, OptionError
from m3e_runtime.loaded_model import LoadedModel
from m3e_runtime.planning import work_of
from m3e_runtime.scheduling.admission import Admission
from m3e_runtime.scheduling.engine_thread import EngineThread, Outcome
from m3e_runtime.scheduling.lane import Lane
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, Request, RunReport
from m3e_runtime.token_outputs import Output
from m3e_runtime.tokenization import TokenIds

if TYPE_CHECKING:
    from m3e_runtime.chunking import Parts

__all__ = ["AsyncModel"]

_RUN_SECONDS = 0.05
"""Approximate maximum duration of one run of the engine. New requests wait for its end."""

_INLINE_CHARACTERS = 512
"""Texts of up to this many characters in total are tokenized in the event loop. That takes a few hundred
microseconds at most; handing over to another thread costs a hundred."""

_WARM_UP_RUNS = 3
_HELPER_THREADS = 2  # for long texts: one text of megabytes does not block all others

_T = TypeVar("_T")
_M = TypeVar("_M", bound=LoadedModel)


class AsyncModel(Generic[_M]):
    """The queue, the engine's thread, and the helper threads of a loaded model.

    See :class:`m3e_runtime.AsyncEncoder` for what a caller can rely on.

    Args:
        model: the encoder or the reranker to use. Closing this object does not close it.
        limits: limits of the queue. Calls beyond them are rejected.
        run_seconds: approximate maximum duration of one run of the engine.
        on_run: called in the event loop after each run of the engine.
        lane: shared with the other models of this process, whose engines take turns; None: it has no others.

    Raises:
        OptionError: ``run_seconds`` is not above 0.
    """

    def __init__(
        self,
        model: _M,
        *,
        limits: QueueLimits | None = None,
        run_seconds: float = _RUN_SECONDS,
        on_run: Callable[[RunReport], None] | None = None,
        lane: Lane | None = None,
    ) -> None:
        if not isinstance(run_seconds, (int, float)) or not 0 < run_seconds < float("inf"):
            raise OptionError(f"run_seconds={run_seconds!r} is not a number of seconds above 0.")
        self._model = model
        self.limits = limits or QueueLimits()
        self._on_run = on_run
        self._pace = Pace(run_seconds, model.info["threads"], model.token_budget)
        self._admission = Admission(self.limits, self._pace)
        self._engine = EngineThread(model, self._pace, self._deliver, lane)
        self._helpers = ThreadPoolExecutor(_HELPER_THREADS, thread_name_prefix="m3e-tokenizer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[asyncio.Task[Any] | None] = set()
        self._calls_ended = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._close_engine = weakref.finalize(self, self._engine.close)  # also at the end of the process

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._model!r}, {self.waiting_texts} texts waiting>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"an {type(self).__name__} belongs to the event loop of its process and cannot be pickled or "
            f"copied; pass its `{type(self._model).__name__.lower()}` instead, and make another "
            f"{type(self).__name__} there."
        )

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs. It starts at the first use."""
        return self._engine.alive

    @property
    def tokens_per_second(self) -> float:
        """Present speed of the engine."""
        return self._pace.tokens_per_second

    @property
    def waiting_texts(self) -> int:
        """Admitted texts that are not computed yet."""
        return self._admission.texts

    @property
    def waiting_tokens(self) -> int:
        """Tokens of these texts; those of long texts count several times, see :func:`work_of`."""
        return self._admission.tokens

    @contextmanager
    def tokenizing(self, texts: Sequence[str], priority: Priority) -> Iterator[None]:
        """Admit texts to tokenization. They count as waiting within the block.

        Raises:
            OverloadedError: too much is waiting.
            OptionError: an unknown priority.
            ClosedError: it is closed.
        """
        self._start()
        with self._admission.tokenizing(len(texts), sum(map(len, texts)), priority):
            yield

    async def _tokenized(
        self, count: int, characters: int, priority: Priority, work: Callable[[], _T], slow: bool = False
    ) -> _T:
        """Tokenize ``count`` texts or pairs by ``work``; if they are long, or it is slow, in another thread.

        Raises:
            M3EError: as :meth:`tokenizing`.
        """
        self._start()
        with self._admission.tokenizing(count, characters, priority):
            if slow or characters > _INLINE_CHARACTERS:
                return await self.in_thread(work)
            return work()

    async def _measure(self, longest: int, run: Callable[[int], Awaitable[object]]) -> None:
        """Measure the speed of the engine: ``run`` computes so many inputs of ``longest`` tokens."""
        count = math.ceil(self._pace.full_run / longest)
        for _ in range(_WARM_UP_RUNS):
            await run(count)

    async def _compute(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority,
        seconds: float,
        prompt_length: int = 0,
        token_types: Sequence[TokenIds] | None = None,
        wanted: frozenset[Output] = frozenset(),
        parts: Parts | None = None,
    ) -> Encoded:
        """Queue token ids, and wait for their vectors or logits."""
        loop = self._start()
        work = sum(work_of(len(ids)) for ids in token_ids)
        self._admission.check_queue(len(token_ids), work, priority)
        self._admission.check_time(len(token_ids), work, seconds)
        if not token_ids:
            return Encoded(np.empty((0, self._model.bundle.manifest.dimension), dtype=np.float32), 0.0)
        arrival = time.perf_counter()
        request = Request(
            token_ids,
            work,
            priority,
            arrival,
            loop.create_future(),
            prompt_length,
            seconds,
            token_types,
            wanted,
            parts,
        )
        self._admission.add(request)
        self._engine.submit(request)
        try:
            return await request.future
        finally:
            self._release(request)

    async def close(self) -> None:
        """Reject new calls, finish those that have begun, and stop the engine's thread.

        Cancelling it does not stop the closing. Another event loop may close it once its own has ended.

        Raises:
            OptionError: its own event loop is another one, which has not ended.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise OptionError(f"an {type(self).__name__} belongs to one event loop; close it there.")
        if self._closing is None:
            self._closing = loop.create_task(self._close(loop))
        if not self._closing.done() and self._closing.get_loop() is loop:
            await asyncio.shield(self._closing)

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._calls and self._loop is loop:
                await self._calls_ended.wait()
            if self._loop is not None:
                await loop.run_in_executor(None, self._close_engine)
        finally:
            self._engine.end()  # the event loop may end before the calls do
            self._helpers.shutdown(wait=False)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """A call of several steps, which closing lets finish. A task makes one at a time.

        Raises:
            ClosedError: it is closed.
        """
        self._start()
        task = asyncio.current_task()
        self._calls.add(task)
        try:
            yield
        finally:
            self._calls.discard(task)
            if self._closing is not None and not self._calls:
                self._calls_ended.set()

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` in a helper thread and return its result, also for calls that closing waits for."""
        helpers = self._helpers if self._closing is None else None
        return await asyncio.get_running_loop().run_in_executor(helpers, work)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._closing is not None and asyncio.current_task() not in self._calls:
            raise ClosedError(f"the {type(self._model).__name__.lower()} is closed; make another.")
        if self._loop is None:
            self._loop = loop
            self._engine.start()
        elif self._loop is not loop:
            raise OptionError(f"an {type(self).__name__} belongs to one event loop; make one for each.")
        elif not self._engine.alive:
            raise EngineRunError("the engine's thread has ended; restart the process.")
        return loop

    def _deliver(self, outcome: Outcome) -> None:
        """Pass the outcome of a run from the engine's thread to the event loop, in one call for all texts."""
        assert self._loop is not None  # noqa: S101 - the thread starts with it
        with suppress(RuntimeError):  # the loop is closed: no caller is left
            self._loop.call_soon_threadsafe(self._resolve, outcome)

    def _resolve(self, outcome: Outcome) -> None:
        """Resolve the futures of requests that the run completed."""
        for request, index in outcome.run.texts:
            if request.abandoned or request.future.done():
                continue
            if outcome.error is not None:
                request.future.set_exception(_copy_of(outcome.error))
                self._release(request)
                continue
            self._admission.text_computed(request, work_of(len(request.token_ids[index])))
            if not request.outstanding_texts and request.vectors is not None:
                request.future.set_result(request.encoded(request.vectors))
        if outcome.report is not None and self._on_run is not None:
            self._on_run(outcome.report)

    def _release(self, request: Request) -> None:
        """Drop the outstanding texts of a request."""
        request.abandoned = True
        self._admission.remove(request)


def _copy_of(error: Exception) -> Exception:
    """A copy of the error for each caller, because raising an error changes its traceback."""
    if isinstance(error, M3EError):
        return type(error)(str(error))
    return EngineRunError(f"the engine failed: {error}")
