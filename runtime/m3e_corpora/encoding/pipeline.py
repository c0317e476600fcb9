"""A pipeline that reads and tokenizes, computes, and writes at the same time."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import takewhile
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from m3e_corpora.encoding.tokens import Model
from m3e_corpora.encoding.window import TokenizedBatch, Window
from m3e_corpora.outputs.others import NO_OTHERS, OtherOutput, Others
from m3e_runtime.chunking import Parts
from m3e_runtime.encoder import Encoder
from m3e_runtime.late_interaction import Task
from m3e_runtime.token_outputs import TokenResult
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.under_way import stop_calls

__all__ = ["compute", "prefetched"]

WINDOWS_AHEAD = 2
"""Windows that wait for the engine while an earlier one is written."""

THREADS_PER_WINDOW = 8
"""With more threads than this for each waiting window, more windows wait."""

Item = TypeVar("Item")
Vectors = npt.NDArray[np.float32]
_Found = tuple[Vectors, list[TokenResult]]
_Submitted = tuple[TokenizedBatch, Future[_Found]]


_NOTHING = TokenResult(None, None)


def prefetched(items: Iterator[Item]) -> Generator[Item]:
    """Produce each item in another thread while the previous one is used. Errors are raised in order."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put((item, error), timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=work, name="m3e-read", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def compute(
    encoder: Model,
    windows: Iterator[Window],
    workers: int,
    batch_size: int | None,
    others: tuple[OtherOutput, ...] = (),
    task: Task | None = None,
) -> Iterator[tuple[Window, Vectors, Others]]:
    """Compute windows in order.

    Args:
        encoder: computes the batches.
        windows: the windows. If this raises an error, it is raised after all earlier windows are yielded.
        workers: threads that run the engine, each on its own batches.
        batch_size: largest number of texts in a batch.
        others: outputs to compute beside the vectors.
        task: what the texts are, for models that encode queries and documents differently.

    Yields:
        Each window, the vectors of its distinct texts, float32 ``[distinct, dimension]``, and their other
        outputs.
    """
    started: deque[tuple[Window, list[_Submitted]]] = deque()
    ahead = max(WINDOWS_AHEAD, workers // THREADS_PER_WINDOW)
    failed: Exception | None = None
    running = _Running()
    with ThreadPoolExecutor(workers, thread_name_prefix="m3e-compute") as pool:
        try:
            while True:
                try:
                    window = next(windows, None)
                except Exception as error:
                    window, failed = None, error
                if window is None:
                    break
                submitted = [
                    (batch, pool.submit(_run, encoder, batch, batch_size, others, running))
                    for batch in window.batches
                ]
                started.append((window, submitted))
                if len(started) > ahead:
                    yield _collect(encoder, others, task, *started.popleft())
            while started:
                yield _collect(encoder, others, task, *started.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
    if failed is not None:
        raise failed


class _Running:
    """The threads that compute. Stopping them lets an interrupted command end at once."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        stop_calls(self.threads)


def _run(
    encoder: Model,
    batch: TokenizedBatch,
    batch_size: int | None,
    others: tuple[OtherOutput, ...],
    running: _Running,
) -> _Found:
    running.threads.add(threading.get_ident())
    if batch.parts is not None:
        return _run_parts(encoder, batch.token_ids, batch.parts, batch_size, running), []
    vectors = np.empty((len(batch.indices), encoder.full_dimension), dtype=np.float32)
    tokens = [_NOTHING] * len(batch.indices)
    for computed, found, results in encoder.run_outputs(
        batch.token_ids, others, batch_size, batch.prompt_lengths, batch.token_types
    ):
        vectors[computed.indices] = found
        for place, result in zip(computed.indices.tolist(), results, strict=True):
            tokens[place] = result
        if running.stopped:
            break  # the vectors are not needed any more
    return vectors, tokens


def _run_parts(
    encoder: Model,
    token_ids: list[TokenIds],
    parts: list[list[tuple[int, int]]],
    batch_size: int | None,
    running: _Running,
) -> Vectors:
    """The vectors of the parts of texts, which late chunking makes of the states of tokens."""
    assert isinstance(encoder, Encoder)  # noqa: S101 - a reranker has no chunks
    batches = takewhile(lambda _: not running.stopped, encoder.run_states(token_ids, batch_size))
    return Parts(parts, encoder.late_pooling).vectors(batches, encoder.full_dimension)


def _collect(
    encoder: Model,
    others: tuple[OtherOutput, ...],
    task: Task | None,
    window: Window,
    submitted: list[_Submitted],
) -> tuple[Window, Vectors, Others]:
    vectors = np.zeros((window.distinct, encoder.full_dimension), dtype=np.float32)
    token_ids: list[TokenIds] = [np.empty(0, np.int32)] * window.distinct
    tokens = [_NOTHING] * window.distinct
    given = encoder.bundle.manifest.token_outputs
    for batch, future in submitted:
        vectors[batch.indices], results = future.result()
        if others:
            for place, ids, result in zip(batch.indices.tolist(), batch.token_ids, results, strict=True):
                token_ids[place], tokens[place] = ids, result
    if given is None or not others:
        return window, vectors, NO_OTHERS
    return window, vectors, Others.of(token_ids, tokens, given, others, task)
