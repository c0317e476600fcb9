"""The encoder for asyncio: many callers at once, each answered as soon as the engine can."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from m3e_runtime.containers import as_list
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import ClosedError, EngineRunError, M3EError, OptionError, OverloadedError
from m3e_runtime.outputs import OutputOptions, OutputPrecision
from m3e_runtime.scheduling.admission import Admission
from m3e_runtime.scheduling.engine_thread import EngineThread, Outcome
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, Request, RunReport
from m3e_runtime.tokenization import TokenIds

__all__ = ["AsyncEncoder"]

RUN_SECONDS = 0.05
"""How long one run of the engine may take at most, about. Whoever comes meanwhile waits for its end."""

INLINE_CHARACTERS = 512
"""Texts of up to this many characters together are tokenized at once: a few hundred microseconds at most,
where another thread costs a hundred before it starts."""

MOST_CHARACTERS = 1 << 24
"""Characters of all texts that are being tokenized or wait for it; one call may have more if it is alone."""

_INLINE_VALUES = 1 << 16  # vectors of this many values are normalized at once, for the same reason
_WARM_UP_RUNS = 3
_HELPERS = 2  # threads for long texts: one of megabytes does not hold up all others

_T = TypeVar("_T")


class AsyncEncoder:
    """Encodes for many asyncio tasks with one engine.

    Texts of all callers are computed together: an idle engine takes what there is at once, part of it
    where that is much (see :mod:`m3e_runtime.scheduling.pace`), and what comes meanwhile waits. Short texts
    and small requests come first, and nothing waits for ever (see :mod:`m3e_runtime.scheduling.queue`). A
    caller that is cancelled takes its texts out of the queue. Vectors are those of :meth:`Encoder.encode`,
    to the last bit where ``Encoder.info["batch_invariant"]``.

    It belongs to the event loop in which it is first used. The encoder may be used beside it, and stays open.

    Args:
        encoder: the bundle.
        limits: what may wait before callers are refused.
        run_seconds: see :data:`RUN_SECONDS`.
        on_run: called in the event loop after each run of the engine.

    Example:
        >>> async def main():
        ...     async with AsyncEncoder(Encoder.load("m3e-base-int8")) as encoder:
        ...         return await asyncio.gather(*(encoder.encode(text) for text in ("你好", "世界")))
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        limits: QueueLimits | None = None,
        run_seconds: float = RUN_SECONDS,
        on_run: Callable[[RunReport], None] | None = None,
    ) -> None:
        if not isinstance(run_seconds, (int, float)) or not 0 < run_seconds < float("inf"):
            raise OptionError(f"run_seconds={run_seconds!r} is not a number of seconds above 0.")
        self.encoder = encoder
        self.limits = limits or QueueLimits()
        self._tokenizing = 0
        self._characters = 0
        self._on_run = on_run
        self._pace = Pace(run_seconds, encoder.info["threads"], encoder.token_budget)
        self._admission = Admission(self.limits, self._pace)
        self._engine = EngineThread(encoder, self._pace, self._deliver)
        self._helpers = ThreadPoolExecutor(_HELPERS, thread_name_prefix="m3e-tokenizer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._end = weakref.finalize(self, self._engine.end)  # when the process ends, too

    def __repr__(self) -> str:
        return f"<AsyncEncoder of {self.encoder!r}, {self.waiting_texts} texts waiting>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncEncoder belongs to the event loop of its process and cannot be pickled or copied; "
            "pass its `encoder`, which can, and make another."
        )

    async def __aenter__(self) -> AsyncEncoder:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs; it starts with the first use."""
        return self._engine.alive

    @property
    def tokens_per_second(self) -> float:
        """Present speed of the engine."""
        return self._pace.tokens_per_second

    @property
    def waiting_texts(self) -> int:
        """Texts that were let in and are not computed yet."""
        return self._admission.texts

    @property
    def waiting_tokens(self) -> int:
        """Tokens of these texts."""
        return self._admission.tokens

    async def warm_up(self) -> None:
        """Encode until the speed of the engine is known: the first runs take longer than others."""
        await self.encode("")
        longest = self.encoder.tokenizer.encode("a " * self.encoder.max_seq_length)
        count = math.ceil(self._pace.full_run / len(longest))
        for _ in range(_WARM_UP_RUNS):
            await self.encode_tokens([longest] * count)

    async def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        precision: OutputPrecision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        priority: Priority = "query",
    ) -> npt.NDArray[Any]:
        """Encode one text or a list of texts, as :meth:`Encoder.encode` does.

        Args:
            sentences: a text, or a sequence of texts.
            prompt_name: as in :meth:`Encoder.encode`, like the next five.
            prompt: see ``prompt_name``.
            precision: see ``prompt_name``.
            normalize_embeddings: see ``prompt_name``.
            truncate_dim: see ``prompt_name``.
            ranges: see ``prompt_name``.
            priority: ``"query"``, for which somebody waits, or ``"document"``, which lets queries pass.

        Returns:
            ``[dimension]`` for a string, ``[n, dimension]`` for a sequence, in the order given.

        Raises:
            OverloadedError: too much is waiting; ``retry_after`` says when to come again.
            InvalidTextError: something else than a string, or a lone surrogate.
            OptionError: an unknown precision, prompt or priority, or a size out of range.
            EngineRunError: the engine failed.
            ClosedError: it was closed.
        """
        prefix = self.encoder.prefix(prompt_name, prompt)
        options = self.encoder.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        token_ids = await self.tokenize([prefix + text for text in texts] if prefix else texts, priority)
        encoded = await self.encode_tokens(token_ids, priority, prefix)
        vectors = await self.finish(encoded, options)
        if isinstance(sentences, str):
            only: npt.NDArray[Any] = vectors[0]
            return only
        return vectors

    async def tokenize(
        self,
        texts: Sequence[str],
        priority: Priority = "query",
        truncate: bool = True,
        keep_end: bool = False,
    ) -> list[TokenIds]:
        """Token ids of each text: at once for few characters, else in another thread.

        Args:
            texts: what to tokenize.
            priority: as in :meth:`encode`.
            truncate: cut texts that are too long, and do not refuse them.
            keep_end: of texts that are cut, keep the last tokens.

        Raises:
            OverloadedError: as :meth:`encode`, before any work was done.
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            TextTooLongError: one of them would be cut, and ``truncate`` is false.
        """
        texts = as_list(texts)
        tokenizer = self.encoder.tokenizer
        with self.tokenizing(texts, priority):
            if keep_end and truncate:
                return await self.apart(lambda: tokenizer.encode_tails(texts))
            if sum(map(len, texts)) > INLINE_CHARACTERS:
                return await self.apart(lambda: tokenizer.encode_batch(texts, truncate))
            if len(texts) == 1:
                return [tokenizer.encode(texts[0], truncate)]
            return tokenizer.encode_batch(texts, truncate)

    @contextmanager
    def tokenizing(self, texts: Sequence[str], priority: Priority) -> Iterator[None]:
        """Let ``texts`` count as waiting while they are tokenized.

        Raises:
            OverloadedError: too much is waiting.
            OptionError: an unknown priority.
            ClosedError: it was closed.
        """
        self._start()
        self._admit(len(texts), 0, priority)
        characters = sum(map(len, texts))
        if self._characters and self._characters + characters > MOST_CHARACTERS:
            reason = f"{self._characters} characters are being tokenized already; try again later."
            raise OverloadedError(reason, retry_after=1.0)
        counted, _ = self._admission.counted(len(texts), 0)
        self._tokenizing += counted
        self._characters += characters
        try:
            yield
        finally:
            self._tokenizing -= counted
            self._characters -= characters

    async def encode_tokens(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority = "query",
        prompt: str = "",
        seconds: float = math.inf,
    ) -> Encoded:
        """Vectors of texts that :meth:`tokenize` was given.

        Args:
            token_ids: of each text.
            priority: as in :meth:`encode`.
            prompt: what was before each of the texts.
            seconds: that the caller waits at most. What cannot be done in them is refused before it begins.

        Raises:
            BatchTooLargeError: it takes longer than ``seconds``, even if nothing else is waiting.
            OverloadedError: too much is waiting, or too much to be done in ``seconds``.
            OptionError: an unknown priority.
            EngineRunError: the engine failed.
            ClosedError: it was closed.
        """
        loop = self._start()
        tokens = sum(map(len, token_ids))
        self._admit(len(token_ids), tokens, priority)
        self._admission.check_time(len(token_ids), tokens, seconds)
        if not token_ids:
            return Encoded(np.empty((0, self.encoder.full_dimension), dtype=np.float32), 0.0)
        left_out = self.encoder.prompt_lengths([prompt]) or [0]
        arrival = time.perf_counter()
        request = Request(token_ids, tokens, priority, arrival, loop.create_future(), left_out[0], seconds)
        self._admission.enter(request)
        self._engine.submit(request)
        try:
            return await request.future
        finally:
            self._release(request)

    async def finish(self, encoded: Encoded, options: OutputOptions) -> npt.NDArray[Any]:
        """Truncate, normalize and quantize as :meth:`Encoder.encode` does; many vectors in another thread."""
        vectors = encoded.vectors
        if vectors.size > _INLINE_VALUES:
            return await self.apart(lambda: options.apply(vectors))
        return options.apply(vectors)

    async def close(self) -> None:
        """Answer whoever waits, then stop; nobody is let in any more."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            await self._loop.run_in_executor(None, self._end)
        self._helpers.shutdown(wait=False)

    async def apart(self, work: Callable[[], _T]) -> _T:
        """Do ``work`` in one of the threads for long texts, and so beside the event loop."""
        return await self._start().run_in_executor(self._helpers, work)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError("the encoder was closed; make another.")
        if self._loop is None:
            self._loop = loop
            self._engine.start()
        elif self._loop is not loop:
            raise OptionError("an AsyncEncoder belongs to one event loop; make one for each.")
        elif not self._engine.alive:
            raise EngineRunError("the engine's thread has ended; restart the process.")
        return loop

    def _admit(self, texts: int, tokens: int, priority: Priority) -> None:
        self._admission.check_room(texts, tokens, priority, self._tokenizing)

    def _deliver(self, outcome: Outcome) -> None:
        """In the engine's thread: one hop to the loop for all texts of a run."""
        assert self._loop is not None  # noqa: S101 - the thread starts with it
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: Outcome) -> None:
        for request, index in outcome.pack.places:
            if request.abandoned or request.future.done():
                continue
            if outcome.error is not None:
                request.future.set_exception(_told(outcome.error))
                self._release(request)
                continue
            self._admission.computed(request, len(request.token_ids[index]))
            if not request.outstanding_texts and request.vectors is not None:
                request.future.set_result(Encoded(request.vectors, request.started - request.arrival))
        if outcome.report is not None and self._on_run is not None:
            self._on_run(outcome.report)

    def _release(self, request: Request) -> None:
        """What is still outstanding is not wanted any more."""
        request.abandoned = True
        self._admission.leave(request)


def _told(error: Exception) -> Exception:
    """An error of its own for each caller: raising adds to its traceback."""
    if isinstance(error, M3EError):
        return type(error)(str(error))
    return EngineRunError(f"the engine failed: {error}")
