"""How fast the engine is, and so how much it is given at once."""

from __future__ import annotations

__all__ = ["Pace"]

_FIRST_GUESS = 10_000.0  # tokens a second, until something has been computed
_SHARE_OF_THE_LAST = 0.1
_LEAST_TOKENS = 256
"""For each thread. A pack of fewer reads the weights too often for its arithmetic."""

_FULL = 0.5  # of these tokens, from which on the speed of a run says what a large request will take

_SHARE_OF_WAITING = 1 / 3
"""Part of what waits that a run takes. After a burst of arrivals the first of them are answered before the
last are computed, which cuts the tail of the latencies; at saturation much waits, and runs are long, which
costs least."""

_SHORTEST_SECONDS = 0.01
"""What waits is not divided into shorter runs: each costs some fraction of a millisecond beside its
arithmetic."""


class Pace:
    """Measures runs of the engine.

    Args:
        seconds: about how long a run may take at most: whoever comes meanwhile has to wait for its end.
        threads: of the engine.
        most: most tokens of a run.
    """

    def __init__(self, seconds: float, threads: int, most: int) -> None:
        self.tokens_per_second = _FIRST_GUESS
        self._longest = seconds
        self._shortest = min(_SHORTEST_SECONDS, seconds)
        self._least = min(_LEAST_TOKENS * threads, most)
        self._most = most
        self._full_runs = 0

    @property
    def measured(self) -> bool:
        """Whether the speed is more than a guess."""
        return self._full_runs > 0

    @property
    def full_run(self) -> int:
        """Tokens of a run that is long enough to measure the speed."""
        return self._least

    def budget(self, waiting: int) -> int:
        """Tokens of the next run, when ``waiting`` tokens wait for it."""
        shortest, longest = (self.tokens_per_second * limit for limit in (self._shortest, self._longest))
        wanted = max(shortest, min(longest, waiting * _SHARE_OF_WAITING))
        return max(self._least, min(self._most, int(wanted)))

    def ran(self, tokens: int, seconds: float) -> None:
        """A run of ``tokens`` tokens took so long."""
        # Large runs count for more: the few tokens of a small one say little about a full one.
        share = _SHARE_OF_THE_LAST * min(1.0, tokens / self._least)
        if tokens >= _FULL * self._least:  # the first of them replace the guess by their mean
            self._full_runs += 1
            share = max(share, 1 / self._full_runs)
        self.tokens_per_second += share * (tokens / max(seconds, 1e-9) - self.tokens_per_second)
