"""Engines that share the cores of a process take turns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Lane"]


class Lane:
    """Lets several engines compute one at a time, in the order in which they ask.

    Two engines that each use every core slow each other down, and neither can tell how long its next run
    takes. In one lane each run has all cores, and no engine waits longer than one run of each other one.

    Example:
        >>> lane = Lane()
        >>> embedder = AsyncEncoder(Encoder.load("m3e-base-int8"), lane=lane)
        >>> reranker = AsyncReranker(Reranker.load("bge-reranker-base-int8"), lane=lane)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of this thread, which lasts as long as the block."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()  # the thread before opens it, and hands its turn over

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
