"""The measured speed of the engine, and the token budget of its next run."""

from __future__ import annotations

__all__ = ["Pace"]

_INITIAL_SPEED = 10_000.0  # tokens per second, before the first measurement
_WEIGHT_OF_LAST_RUN = 0.1
_MIN_TOKENS = 256
"""For each thread. A run with fewer tokens reads the weights too often for its arithmetic."""

_FULL = 0.5  # a run with this share of the minimum budget is large enough to predict large requests

_SHARE_OF_WAITING = 1 / 3
"""Share of the waiting tokens that a run takes. After a burst of arrivals, the first are answered before the
last are computed, which cuts the tail latency. At saturation much is waiting, so runs are long, which is
most efficient."""

_MIN_SECONDS = 0.01
"""Waiting tokens are not divided into shorter runs: each has an overhead of a fraction of a millisecond."""


class Pace:
    """Measures the engine's speed and chooses the size of its runs.

    Tokens are counted as :func:`~m3e_runtime.planning.work_of` counts them: more for long texts.

    Attributes:
        tokens_per_second: the speed at which texts leave the queue.

    Args:
        seconds: approximate maximum duration of a run. Requests that arrive meanwhile wait for its end.
        threads: threads of the engine.
        max_tokens: maximum number of tokens in a run.
    """

    def __init__(self, seconds: float, threads: int, max_tokens: int) -> None:
        self.tokens_per_second = _INITIAL_SPEED
        self._alone = _INITIAL_SPEED  # the speed during a run
        self._max_seconds = seconds
        self._min_seconds = min(_MIN_SECONDS, seconds)
        self._min_tokens = min(_MIN_TOKENS * threads, max_tokens)
        self._max_tokens = max_tokens
        self._full_runs = 0

    @property
    def measured(self) -> bool:
        """Whether the speed is measured, not assumed."""
        return self._full_runs > 0

    @property
    def full_run(self) -> int:
        """Tokens of a run that is large enough to measure the speed."""
        return self._min_tokens

    def budget(self, waiting: int, shared: bool = False) -> int:
        """Tokens of the next run if ``waiting`` tokens are waiting.

        ``shared`` says that other engines wait for the same cores. Then runs are as short as they can be:
        a large model would make the queries of a small one wait.
        """
        if shared:
            return max(1, min(self._max_tokens, int(self._alone * self._min_seconds)))
        shortest, longest = (self._alone * limit for limit in (self._min_seconds, self._max_seconds))
        wanted = max(shortest, min(longest, waiting * _SHARE_OF_WAITING))
        return max(self._min_tokens, min(self._max_tokens, int(wanted)))

    def record(self, tokens: int, seconds: float, waited: float = 0.0) -> None:
        """Update the speed by a run of ``tokens`` tokens that took ``seconds``.

        Before it, the engine ``waited`` for others with which it shares the cores. What is waiting will wait
        for them, too.
        """
        # The speed of a small run says little about a full one, so it has less weight.
        weight = _WEIGHT_OF_LAST_RUN * min(1.0, tokens / self._min_tokens)
        if tokens >= _FULL * self._min_tokens:  # the mean of the first full runs replaces the initial speed
            self._full_runs += 1
            weight = max(weight, 1 / self._full_runs)
        self._alone += weight * (tokens / max(seconds, 1e-9) - self._alone)
        self.tokens_per_second += weight * (tokens / max(seconds + waited, 1e-9) - self.tokens_per_second)
