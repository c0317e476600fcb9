"""Texts with more tokens than a model takes: what happens to them, and how many there were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from m3e_runtime.errors import OptionError

__all__ = ["TRUNCATIONS", "CutTexts", "Truncation", "check_truncation"]

Truncation = Literal["cut", "error", "chunk"]
"""A text that is too long is cut at the end, is an error, or is divided into chunks."""

TRUNCATIONS: tuple[str, ...] = get_args(Truncation)


def check_truncation(truncation: Any) -> None:
    """Reject what is no :data:`Truncation`.

    Raises:
        OptionError: it is something else.
    """
    if truncation not in TRUNCATIONS:
        raise OptionError(f"truncation={truncation!r} is unknown; use one of {', '.join(TRUNCATIONS)}.")


class CutTexts:
    """Counts the texts that were cut. The first of them cause a warning in the log.

    Args:
        what: what is cut, for the warning.
        advice: what can be done, for the warning.

    Attributes:
        count: how many there were.
    """

    def __init__(self, what: str, advice: str) -> None:
        self.count = 0
        self._what = what
        self._advice = advice

    def add(self, cut: Sequence[bool], limit: int) -> None:
        """Count the texts that are marked; ``limit`` is the number of tokens that were kept."""
        found = sum(cut)
        if not found:
            return
        before, self.count = self.count, self.count + found
        if not before:
            import logging  # here, because it is seldom needed and slow to import

            logging.getLogger(__name__).warning(
                "%d of %d %s have more than %d tokens and were cut there. %s Further ones that are cut are "
                'only counted, in info["truncated"].',
                found,
                len(cut),
                self._what,
                limit,
                self._advice,
            )
