"""Admission: a request is rejected if too much is waiting, or if it cannot be computed in time.

``m3e-serve`` answers :class:`OverloadedError` with status 429, and :class:`BatchTooLargeError` with 413.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from m3e_runtime.errors import BatchTooLargeError, OptionError, OverloadedError
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.request import PRIORITIES, Priority, QueueLimits, Request

__all__ = ["LARGE_TEXTS", "LARGE_TOKENS", "MAX_TOKENIZING_CHARACTERS", "Admission"]

LARGE_TEXTS = 256
LARGE_TOKENS = 8192
"""A request counts for at most this many texts and tokens of the queue's limits. The queue computes a larger
request in pieces, between other requests, so its size delays nobody else, and its token ids take four bytes
each. A request of any size is therefore admitted while there is room for a few large ones.
``tokens / LARGE_TOKENS`` of the limits bounds the number of large requests."""

MAX_TOKENIZING_CHARACTERS = 1 << 24
"""Characters of all texts in tokenization or waiting for it. A single request may exceed it."""

_SAFETY = 0.8  # the suggested number of texts is this share of what would just fit


class Admission:
    """Counts waiting texts and rejects requests beyond the limits. Used by the event loop's thread only.

    Tokens are counted as :func:`~m3e_runtime.planning.work_of` counts them: more for long texts.

    Attributes:
        texts: admitted texts that are not computed yet.
        tokens: the tokens of these texts.
    """

    def __init__(self, limits: QueueLimits, pace: Pace) -> None:
        self.texts = 0
        self.tokens = 0
        self._limits = limits
        self._pace = pace
        self._counted_texts = 0
        self._counted_tokens = 0
        self._tokenizing_texts = 0
        self._tokenizing_characters = 0
        self._large: set[Request] = set()
        max_texts, max_tokens = self._limits_of("document")
        self._max_counted = min(LARGE_TEXTS, max_texts), min(LARGE_TOKENS, max_tokens)

    @contextmanager
    def tokenizing(self, texts: int, characters: int, priority: Priority) -> Iterator[None]:
        """Admit texts of so many characters to tokenization. They count as waiting within the block.

        Raises:
            OverloadedError: too many texts, tokens or characters are waiting.
            OptionError: an unknown priority.
        """
        self.check_queue(texts, 0, priority)
        waiting = self._tokenizing_characters
        if waiting and waiting + characters > MAX_TOKENIZING_CHARACTERS:
            reason = f"{waiting} characters are being tokenized already; try again later."
            raise OverloadedError(reason, retry_after=1.0)
        counted, _ = self._capped(texts, 0)
        self._tokenizing_texts += counted
        self._tokenizing_characters += characters
        try:
            yield
        finally:
            self._tokenizing_texts -= counted
            self._tokenizing_characters -= characters

    def check_queue(self, texts: int, tokens: int, priority: Priority) -> None:
        """Check that the queue has room for a request.

        Raises:
            OverloadedError: too much is waiting.
            OptionError: an unknown priority.
        """
        if priority not in PRIORITIES:
            raise OptionError(f"priority={priority!r} is unknown; use {' or '.join(PRIORITIES)}.")
        max_texts, max_tokens = self._limits_of(priority)
        counted_texts, counted_tokens = self._capped(texts, tokens)
        if (
            self._counted_texts + self._tokenizing_texts + counted_texts > max_texts
            or self._counted_tokens + counted_tokens > max_tokens
        ):
            raise OverloadedError(
                f"{self.texts + self._tokenizing_texts} texts with {self.tokens} tokens are waiting already; "
                "try again later.",
                retry_after=self.tokens / self._pace.tokens_per_second,
            )

    def check_time(self, texts: int, tokens: int, seconds: float) -> None:
        """Check that a request can finish within ``seconds``, and that every large request still can.

        Nothing is rejected before the engine's speed is measured.

        Raises:
            BatchTooLargeError: an idle engine would take longer.
            OverloadedError: with the waiting requests it would take longer.
        """
        if not self._pace.measured or seconds == math.inf:
            return
        speed = self._pace.tokens_per_second
        if tokens > speed * seconds:
            raise _batch_too_large(texts, tokens, speed, seconds)
        if not self._is_large(tokens):
            return
        now = time.perf_counter()
        left = min([seconds, *(each.deadline - now for each in self._large)])
        needed = (self.tokens + tokens) / speed
        if needed > left:
            raise OverloadedError(
                f"{self.tokens} tokens are waiting already, too many to compute this request of {tokens} "
                "in time; try again later.",
                retry_after=min(needed - left, self.tokens / speed),
            )

    def add(self, request: Request) -> None:
        """Count an admitted request."""
        if self._is_large(request.work):
            self._large.add(request)
        self._count(request, 1)

    def text_computed(self, request: Request, tokens: int) -> None:
        """Subtract one computed text of ``request``, which counts for ``tokens`` tokens."""
        self._count(request, -1)
        request.outstanding_texts -= 1
        request.outstanding_work -= tokens
        self._count(request, 1)

    def remove(self, request: Request) -> None:
        """Subtract the outstanding texts of ``request``."""
        self._count(request, -1)
        request.outstanding_texts = request.outstanding_work = 0
        self._large.discard(request)

    def _count(self, request: Request, sign: int) -> None:
        texts, tokens = self._capped(request.outstanding_texts, request.outstanding_work)
        self._counted_texts += sign * texts
        self._counted_tokens += sign * tokens
        self.texts += sign * request.outstanding_texts
        self.tokens += sign * request.outstanding_work

    def _capped(self, texts: int, tokens: int) -> tuple[int, int]:
        """The texts and tokens that a request of this size counts for."""
        max_texts, max_tokens = self._max_counted
        return min(texts, max_texts), min(tokens, max_tokens)

    def _is_large(self, tokens: int) -> bool:
        return tokens > self._max_counted[1]

    def _limits_of(self, priority: Priority) -> tuple[int, int]:
        share = self._limits.document_share if priority == "document" else 1.0
        return max(1, int(self._limits.texts * share)), max(1, int(self._limits.tokens * share))


def _batch_too_large(texts: int, tokens: int, speed: float, seconds: float) -> BatchTooLargeError:
    fitting = max(1, int(texts * _SAFETY * speed * seconds / tokens))
    cure = f"send at most {fitting} such texts at a time" if texts > 1 else "send a shorter text"
    return BatchTooLargeError(
        f"{texts} texts with {tokens} tokens take about {math.ceil(tokens / speed)} seconds at the present "
        f"speed, and the limit is {seconds:g} seconds; {cure}."
    )
