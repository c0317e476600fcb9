"""Progress of an encoding: a bar with rate, remaining time and padding, and the totals of the run."""

from __future__ import annotations

import time
from types import TracebackType

from m3e_corpora.job.counts import Counts
from m3e_runtime.progress import progress_bar

__all__ = ["Progress"]


class Progress:
    """Counts what this run has processed. The bar advances with the bytes of the input."""

    def __init__(self, total: int, before: int, show: bool | None) -> None:
        self.counts = Counts()
        self._start = time.perf_counter()
        self._bar = progress_bar(total or None, "B", "Encoding", show, 0, before)

    def __enter__(self) -> Progress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    @property
    def seconds(self) -> float:
        """Seconds since the start of this run."""
        return time.perf_counter() - self._start

    def add(self, size: int, counts: Counts) -> None:
        """Add rows that took ``size`` bytes of the input."""
        self.counts += counts
        self._bar.set_postfix_str(
            f"{self.counts.texts} texts, {self.counts.tokens / self.seconds:.0f} tokens/s, "
            f"padding {self.counts.padding_share:.1%}",
            refresh=False,
        )
        self._bar.update(size)
