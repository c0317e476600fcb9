"""What happens at the same time: reading and tokenizing, computing, writing."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from m3e_corpora.encoding.windows import Task, Window
from m3e_runtime.encoder import Encoder
from m3e_runtime.under_way import stop_calls

__all__ = ["compute", "prefetched"]

WINDOWS_AHEAD = 2
THREADS_OF_A_WINDOW = 8
"""Windows that wait for the engine while an earlier one is written; more for engines with many threads."""

Item = TypeVar("Item")
Vectors = npt.NDArray[np.float32]


def prefetched(items: Iterator[Item]) -> Generator[Item]:
    """``items``, each made in another thread while the one before is used. Errors come at their place."""
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
    encoder: Encoder, windows: Iterator[Window], workers: int, batch_size: int | None
) -> Iterator[tuple[Window, Vectors]]:
    """Each window and the vectors of its distinct texts, float32 ``[distinct, dimension]``, in order.

    ``workers`` threads run the engine, each on tasks of its own. An error of ``windows`` is raised once all
    windows before it have been given out.
    """
    started: deque[tuple[Window, list[tuple[Task, Future[Vectors]]]]] = deque()
    ahead = max(WINDOWS_AHEAD, workers // THREADS_OF_A_WINDOW)
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
                submitted = [pool.submit(_run, encoder, task, batch_size, running) for task in window.tasks]
                started.append((window, list(zip(window.tasks, submitted, strict=True))))
                if len(started) > ahead:
                    yield _collect(encoder, *started.popleft())
            while started:
                yield _collect(encoder, *started.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
    if failed is not None:
        raise failed


class _Running:
    """The threads that compute, so that who interrupts a command need not wait for a run of each."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        stop_calls(self.threads)


def _run(encoder: Encoder, task: Task, batch_size: int | None, running: _Running) -> Vectors:
    running.threads.add(threading.get_ident())
    vectors = np.empty((len(task.indices), encoder.full_dimension), dtype=np.float32)
    for batch, found in encoder.run(task.token_ids, batch_size, task.prompt_lengths):
        vectors[batch.indices] = found
        if running.stopped:
            break  # nobody asks for them
    return vectors


def _collect(
    encoder: Encoder, window: Window, running: list[tuple[Task, Future[Vectors]]]
) -> tuple[Window, Vectors]:
    vectors = np.zeros((window.distinct, encoder.full_dimension), dtype=np.float32)
    for task, future in running:
        vectors[task.indices] = future.result()
    return window, vectors
