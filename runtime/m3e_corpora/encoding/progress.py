"""How far an encoding is: a bar with rate, remaining time and padding, and totals for the end."""

from __future__ import annotations

import time
from types import TracebackType

from m3e_corpora.job.counts import Counts
from m3e_runtime.progress import progress_bar

__all__ = ["Progress", "padding_share"]


class Progress:
    """Counts what this run has done; the bar moves with the bytes of the input."""

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
        """Since the beginning of this run."""
        return time.perf_counter() - self._start

    def add(self, size: int, counts: Counts) -> None:
        """Rows are done that took ``size`` bytes of the input."""
        self.counts += counts
        self._bar.set_postfix_str(
            f"{self.counts.texts} texts, {self.counts.tokens / self.seconds:.0f} tokens/s, "
            f"padding {padding_share(self.counts):.1%}",
            refresh=False,
        )
        self._bar.update(size)


def padding_share(counts: Counts) -> float:
    """Padding in parts of all tokens that were computed."""
    return 1 - counts.tokens / counts.computed_tokens if counts.computed_tokens else 0.0
