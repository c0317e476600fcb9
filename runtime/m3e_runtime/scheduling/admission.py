"""Who is let in: how much may wait, and what can be done in its time."""

from __future__ import annotations

import math
import time

from m3e_runtime.errors import BatchTooLargeError, OptionError, OverloadedError
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.request import PRIORITIES, Priority, QueueLimits, Request

__all__ = ["LARGE_TEXTS", "LARGE_TOKENS", "Admission"]

LARGE_TEXTS = 256
LARGE_TOKENS = 8192
"""A request counts for at most this many texts and tokens of those that may wait. The queue computes a larger
request in pieces, between the requests of others, so its size delays nobody else. What is left of it takes
four bytes a token. So a request of any size is let in while there is room for a few large ones, and
``tokens / LARGE_TOKENS`` of the limits bounds how many large ones there are."""

_SAFETY = 0.8  # of what would just fit, is what a client is told to send


class Admission:
    """Counts what waits. For the thread of the event loop.

    Attributes:
        texts: that were let in and are not computed yet.
        tokens: of these texts.
    """

    def __init__(self, limits: QueueLimits, pace: Pace) -> None:
        self.texts = 0
        self.tokens = 0
        self._limits = limits
        self._pace = pace
        self._counted_texts = 0
        self._counted_tokens = 0
        self._large: set[Request] = set()
        most_texts, most_tokens = self._most("document")
        self._most_of_one = min(LARGE_TEXTS, most_texts), min(LARGE_TOKENS, most_tokens)

    def check_room(self, texts: int, tokens: int, priority: Priority, tokenizing: int = 0) -> None:
        """Check that there is room for a request; ``tokenizing`` texts are on their way to the queue.

        Raises:
            OverloadedError: too much is waiting.
            OptionError: an unknown priority.
        """
        if priority not in PRIORITIES:
            raise OptionError(f"priority={priority!r} is unknown; use {' or '.join(PRIORITIES)}.")
        most_texts, most_tokens = self._most(priority)
        more_texts, more_tokens = self.counted(texts, tokens)
        if (
            self._counted_texts + tokenizing + more_texts > most_texts
            or self._counted_tokens + more_tokens > most_tokens
        ):
            raise OverloadedError(
                f"{self.texts + tokenizing} texts with {self.tokens} tokens are waiting already; "
                "try again later.",
                retry_after=self.tokens / self._pace.tokens_per_second,
            )

    def check_time(self, texts: int, tokens: int, seconds: float) -> None:
        """Check that a request can be answered within ``seconds`` and delays no large one past its own time.

        Nothing is refused until the speed of the engine has been measured.

        Raises:
            BatchTooLargeError: an idle engine would take longer.
            OverloadedError: with what is waiting it would take longer.
        """
        if not self._pace.measured or seconds == math.inf:
            return
        speed = self._pace.tokens_per_second
        if tokens > speed * seconds:
            raise _too_large(texts, tokens, speed, seconds)
        if not self._is_large(tokens):
            return
        now = time.perf_counter()
        left = min([seconds, *(each.deadline - now for each in self._large)])
        needed = (self.tokens + tokens) / speed
        if needed > left:
            raise OverloadedError(
                f"{self.tokens} tokens are waiting already, too many for this request of {tokens} "
                "to be answered in time; try again later.",
                retry_after=min(needed - left, self.tokens / speed),
            )

    def counted(self, texts: int, tokens: int) -> tuple[int, int]:
        """What a request of this size takes of the room."""
        most_texts, most_tokens = self._most_of_one
        return min(texts, most_texts), min(tokens, most_tokens)

    def enter(self, request: Request) -> None:
        """Count a request that was let in."""
        if self._is_large(request.tokens):
            self._large.add(request)
        self._add(request, 1)

    def computed(self, request: Request, tokens: int) -> None:
        """One text of ``request`` was computed."""
        self._add(request, -1)
        request.outstanding_texts -= 1
        request.outstanding_tokens -= tokens
        self._add(request, 1)

    def leave(self, request: Request) -> None:
        """What is still outstanding of ``request`` is not wanted any more."""
        self._add(request, -1)
        request.outstanding_texts = request.outstanding_tokens = 0
        self._large.discard(request)

    def _add(self, request: Request, sign: int) -> None:
        texts, tokens = self.counted(request.outstanding_texts, request.outstanding_tokens)
        self._counted_texts += sign * texts
        self._counted_tokens += sign * tokens
        self.texts += sign * request.outstanding_texts
        self.tokens += sign * request.outstanding_tokens

    def _is_large(self, tokens: int) -> bool:
        return tokens > self._most_of_one[1]

    def _most(self, priority: Priority) -> tuple[int, int]:
        share = self._limits.document_share if priority == "document" else 1.0
        return max(1, int(self._limits.texts * share)), max(1, int(self._limits.tokens * share))


def _too_large(texts: int, tokens: int, speed: float, seconds: float) -> BatchTooLargeError:
    fitting = max(1, int(texts * _SAFETY * speed * seconds / tokens))
    cure = f"send at most {fitting} such texts at a time" if texts > 1 else "send a shorter text"
    return BatchTooLargeError(
        f"{texts} texts with {tokens} tokens take about {math.ceil(tokens / speed)} seconds at the present "
        f"speed, and a request has {seconds:g}; {cure}."
    )
