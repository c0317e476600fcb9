"""Engines that share the cores of a process take turns."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

__all__ = ["Lane"]

_A_MOMENT = 1.0  # seconds


class Lane:
    """Lets several engines compute one at a time, in the order in which they ask.

    Two engines that each use every core slow each other down, and neither can tell how long its next run
    takes. In one lane each run has all cores, and no engine waits longer than one run of each other one. Runs
    are short while several engines have work.

    Example:
        >>> lane = Lane()
        >>> embedder = AsyncEncoder(Encoder.load("m3e-base-int8"), lane=lane)
        >>> reranker = AsyncReranker(Reranker.load("bge-reranker-base-int8"), lane=lane)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()
        self._last_turns: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    @contextmanager
    def turn(self, engine: object) -> Iterator[bool]:
        """Wait for the turn of ``engine``, which lasts as long as the block.

        Yields:
            Whether other engines have work, too: one is waiting, or had a turn a moment ago.
        """
        self._enter()
        try:
            yield bool(self._waiting) or self._is_shared(engine)
        finally:
            self._last_turns[engine] = time.monotonic()
            self._leave()

    def _is_shared(self, engine: object) -> bool:
        others = [at for other, at in self._last_turns.items() if other is not engine]
        return time.monotonic() - max(others, default=-math.inf) < _A_MOMENT

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
