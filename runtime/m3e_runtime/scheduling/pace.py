"""How fast the engine is, and so how much it is given at once."""

from __future__ import annotations

__all__ = ["Pace"]

_FIRST_GUESS = 10_000.0  # tokens a second, until something has been computed
_SHARE_OF_THE_LAST = 0.1
_LEAST_TOKENS = 256
"""For each thread. A pack of fewer reads the weights too often for its arithmetic."""


class Pace:
    """Measures runs of the engine.

    Args:
        seconds: about how long a run may take: whoever comes meanwhile has to wait for its end.
        threads: of the engine.
        most: most tokens of a run.
    """

    def __init__(self, seconds: float, threads: int, most: int) -> None:
        self.tokens_per_second = _FIRST_GUESS
        self._seconds = seconds
        self._least = min(_LEAST_TOKENS * threads, most)
        self._most = most

    @property
    def budget(self) -> int:
        """Tokens of the next run."""
        wanted = int(self.tokens_per_second * self._seconds)
        return max(self._least, min(self._most, wanted))

    def ran(self, tokens: int, seconds: float) -> None:
        """A run of ``tokens`` tokens took so long."""
        # Large runs count for more: the few tokens of a small one say little about a full one.
        share = _SHARE_OF_THE_LAST * min(1.0, tokens / self._least)
        self.tokens_per_second += share * (tokens / max(seconds, 1e-9) - self.tokens_per_second)
