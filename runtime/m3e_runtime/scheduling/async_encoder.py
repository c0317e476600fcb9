"""The encoder for asyncio, which computes the texts of many callers together."""

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
from m3e_runtime.errors import ClosedError, EngineRunError, M3EError, OptionError
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.outputs import OutputOptions, OutputPrecision
from m3e_runtime.scheduling.admission import Admission
from m3e_runtime.scheduling.engine_thread import EngineThread, Outcome
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.request import Encoded, Priority, QueueLimits, Request, RunReport
from m3e_runtime.token_outputs import OUTPUTS, Output, Outputs, TextOutputs, all_outputs
from m3e_runtime.tokenization import TokenIds

__all__ = ["AsyncEncoder"]

RUN_SECONDS = 0.05
"""Approximate maximum duration of one run of the engine. New requests wait for its end."""

INLINE_CHARACTERS = 512
"""Texts of up to this many characters in total are tokenized in the event loop. That takes a few hundred
microseconds at most; handing over to another thread costs a hundred."""

_INLINE_VALUES = 1 << 16  # vectors of up to this many values are normalized in the event loop, too
_WARM_UP_RUNS = 3
_HELPER_THREADS = 2  # for long texts: one text of megabytes does not block all others

_T = TypeVar("_T")


class AsyncEncoder:
    """Encodes for many asyncio tasks with one engine.

    The texts of all callers are batched. An idle engine starts at once with the waiting texts, or with a
    part of them if there are many (see :mod:`m3e_runtime.scheduling.pace`). Texts that arrive meanwhile wait.
    Short texts and small requests are computed first, and nothing starves (see
    :mod:`m3e_runtime.scheduling.queue`). Cancelling a call removes its texts from the queue. The vectors are
    those of :meth:`Encoder.encode`, bit for bit if ``Encoder.info["batch_invariant"]``.

    It belongs to the event loop in which it is first used. The encoder can be used beside it. Closing it does
    not close the encoder.

    Args:
        encoder: the encoder to use.
        limits: limits of the queue. Calls beyond them are rejected.
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
        self._on_run = on_run
        self._pace = Pace(run_seconds, encoder.info["threads"], encoder.token_budget)
        self._admission = Admission(self.limits, self._pace)
        self._engine = EngineThread(encoder, self._pace, self._deliver)
        self._helpers = ThreadPoolExecutor(_HELPER_THREADS, thread_name_prefix="m3e-tokenizer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._close_engine = weakref.finalize(self, self._engine.close)  # also at the end of the process

    def __repr__(self) -> str:
        return f"<AsyncEncoder of {self.encoder!r}, {self.waiting_texts} texts waiting>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an AsyncEncoder belongs to the event loop of its process and cannot be pickled or copied; "
            "pass its `encoder` instead, and make another AsyncEncoder there."
        )

    async def __aenter__(self) -> AsyncEncoder:
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
        """Tokens of these texts."""
        return self._admission.tokens

    async def warm_up(self) -> None:
        """Encode until the speed of the engine is measured. The first runs take longer than others."""
        await self.encode("")
        longest = self.encoder.tokenizer.encode("a " * self.encoder.max_seq_length)
        count = math.ceil(self._pace.full_run / len(longest))
        for _ in range(_WARM_UP_RUNS):
            await self.encode_token_ids([longest] * count)

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
            priority: ``"query"``, or ``"document"`` for texts that queries may overtake.

        Returns:
            ``[dimension]`` for a string, ``[n, dimension]`` for a sequence, in the order given.

        Raises:
            OverloadedError: too much is waiting. ``retry_after`` says after how many seconds to try again.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            OptionError: an unknown precision, prompt or priority, or a size out of range.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        prefix = self.encoder.prefix(prompt_name, prompt)
        options = self.encoder.output_options(truncate_dim, normalize_embeddings, precision, ranges)
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        token_ids = await self.tokenize([prefix + text for text in texts] if prefix else texts, priority)
        encoded = await self.encode_token_ids(token_ids, priority, prefix)
        vectors = await self.finish(encoded, options)
        if isinstance(sentences, str):
            only: npt.NDArray[Any] = vectors[0]
            return only
        return vectors

    async def encode_outputs(
        self,
        sentences: str | Sequence[str],
        outputs: Sequence[Output] = OUTPUTS,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        priority: Priority = "query",
    ) -> Outputs | TextOutputs:
        """Dense vectors, sparse vectors and multi-vectors of texts, as :meth:`Encoder.encode_outputs`.

        Args:
            sentences: a text, or a sequence of texts.
            outputs: as in :meth:`Encoder.encode_outputs`, like the next four.
            prompt_name: see ``outputs``.
            prompt: see ``outputs``.
            normalize_embeddings: see ``outputs``.
            truncate_dim: see ``outputs``.
            priority: as in :meth:`encode`.

        Raises:
            M3EError: as :meth:`encode`.
            OptionError: the model or the artifact does not give an output.
        """
        wanted = self.encoder.wanted_outputs(outputs)
        prefix = self.encoder.prefix(prompt_name, prompt)
        options = self.encoder.output_options(truncate_dim, normalize_embeddings)
        texts = [sentences] if isinstance(sentences, str) else as_list(sentences)
        token_ids = await self.tokenize([prefix + text for text in texts] if prefix else texts, priority)
        encoded = await self.encode_token_ids(token_ids, priority, prefix, wanted=wanted - {"dense"})
        dense = await self.finish(encoded, options) if "dense" in wanted else None
        given = self.encoder.bundle.manifest.token_outputs or TokenOutputs()
        found = await self.in_thread(lambda: all_outputs(token_ids, dense, encoded.tokens, given, wanted))
        return found[0] if isinstance(sentences, str) else found

    async def tokenize(
        self,
        texts: Sequence[str],
        priority: Priority = "query",
        truncate: bool = True,
        keep_end: bool = False,
    ) -> list[TokenIds]:
        """Token ids of each text. Many characters are tokenized in another thread.

        Args:
            texts: the texts, with prompts.
            priority: as in :meth:`encode`.
            truncate: truncate long texts instead of raising an error.
            keep_end: keep the last tokens of truncated texts instead of the first.

        Raises:
            OverloadedError: as :meth:`encode`, before any work is done.
            InvalidTextError: a text is not a string, or has a lone surrogate.
            TextTooLongError: a text is too long, and ``truncate`` is false.
        """
        texts = as_list(texts)
        tokenizer = self.encoder.tokenizer
        with self.tokenizing(texts, priority):
            if keep_end and truncate:
                return await self.in_thread(lambda: tokenizer.encode_tails(texts))
            if sum(map(len, texts)) > INLINE_CHARACTERS:
                return await self.in_thread(lambda: tokenizer.encode_batch(texts, truncate))
            if len(texts) == 1:
                return [tokenizer.encode(texts[0], truncate)]
            return tokenizer.encode_batch(texts, truncate)

    @contextmanager
    def tokenizing(self, texts: Sequence[str], priority: Priority) -> Iterator[None]:
        """Admit texts to tokenization. They count as waiting within the block.

        Raises:
            OverloadedError: too much is waiting.
            OptionError: an unknown priority.
            ClosedError: it is closed.
        """
        self._start()
        with self._admission.tokenizing(texts, priority):
            yield

    async def encode_token_ids(
        self,
        token_ids: Sequence[TokenIds],
        priority: Priority = "query",
        prompt: str = "",
        seconds: float = math.inf,
        wanted: frozenset[Output] = frozenset(),
    ) -> Encoded:
        """Vectors of texts from their token ids, as :meth:`tokenize` returns them.

        Args:
            token_ids: the token ids of each text.
            priority: as in :meth:`encode`.
            prompt: the prompt at the start of each text.
            seconds: the caller's timeout. A request that would take longer is rejected before it starts.
            wanted: outputs of tokens to compute, too, as :meth:`Encoder.run_outputs` takes them.

        Raises:
            BatchTooLargeError: it takes longer than ``seconds``, even if nothing else is waiting.
            OverloadedError: too much is waiting, or too much to finish in ``seconds``.
            OptionError: an unknown priority.
            EngineRunError: the engine failed.
            ClosedError: it is closed.
        """
        loop = self._start()
        tokens = sum(map(len, token_ids))
        self._admission.check_queue(len(token_ids), tokens, priority)
        self._admission.check_time(len(token_ids), tokens, seconds)
        if not token_ids:
            return Encoded(np.empty((0, self.encoder.full_dimension), dtype=np.float32), 0.0)
        (prompt_length,) = self.encoder.prompt_lengths([prompt]) or [0]
        arrival = time.perf_counter()
        request = Request(
            token_ids, tokens, priority, arrival, loop.create_future(), prompt_length, seconds, wanted
        )
        self._admission.add(request)
        self._engine.submit(request)
        try:
            return await request.future
        finally:
            self._release(request)

    async def finish(self, encoded: Encoded, options: OutputOptions) -> npt.NDArray[Any]:
        """Truncate, normalize and quantize as :meth:`Encoder.encode` does, in another thread if large."""
        vectors = encoded.vectors
        if vectors.size > _INLINE_VALUES:
            return await self.in_thread(lambda: options.apply(vectors))
        return options.apply(vectors)

    async def close(self) -> None:
        """Reject new calls, finish those that wait, and stop the engine's thread."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            await self._loop.run_in_executor(None, self._close_engine)
        self._helpers.shutdown(wait=False)

    async def in_thread(self, work: Callable[[], _T]) -> _T:
        """Run ``work`` in a helper thread and return its result."""
        return await self._start().run_in_executor(self._helpers, work)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClosedError("the encoder is closed; make another.")
        if self._loop is None:
            self._loop = loop
            self._engine.start()
        elif self._loop is not loop:
            raise OptionError("an AsyncEncoder belongs to one event loop; make one for each.")
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
            self._admission.text_computed(request, len(request.token_ids[index]))
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
