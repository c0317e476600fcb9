"""The order in which texts are computed.

Each text has a due time: the time at which it would finish if its request had the engine to itself from its
arrival on, shortest texts first. The text with the earliest due time is next. A short text therefore passes
a long one, and the few texts of one caller pass the many texts of another. Nothing starves: the due time of
a request's next text never changes, and later arrivals have later ones. This is the virtual finish time of
fair queueing (Demers, Keshav and Shenker 1989), with real arrival times. A document is due
:data:`~m3e_runtime.scheduling.request.DOCUMENT_HANDICAP` later than a query.

A large request can fall behind, because other requests were computed meanwhile or the engine became slower.
It must not catch up at the cost of new requests. Its texts are therefore taken in pieces of
:data:`~m3e_runtime.scheduling.request.PIECE_SECONDS`. After each piece, the next texts are due as if they
arrived now.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from m3e_runtime.planning import work_of
from m3e_runtime.scheduling.request import Request
from m3e_runtime.token_outputs import Output
from m3e_runtime.tokenization import TokenIds

__all__ = ["FairQueue", "Run"]


@dataclass
class Run:
    """The texts of one run of the engine, as pairs of a request and the text's index in it.

    ``work`` is the sum of :func:`~m3e_runtime.planning.work_of`; ``tokens`` are as they are.
    """

    texts: list[tuple[Request, int]] = field(default_factory=list)
    tokens: int = 0
    work: int = 0

    def divided(self) -> tuple[Run, Run]:
        """The texts that have a vector each, and those whose parts have vectors."""
        whole, in_parts = Run(), Run()
        for request, index in self.texts:
            (whole if request.parts is None else in_parts).texts.append((request, index))
        return whole, in_parts

    def token_ids(self) -> list[TokenIds]:
        """Sort the texts, longest first, and return their token ids."""
        # Threads that each take the next text finish together if the short ones come last.
        self.texts.sort(key=lambda text: -len(text[0].token_ids[text[1]]))
        return [request.token_ids[index] for request, index in self.texts]

    def wanted(self) -> frozenset[Output]:
        """The outputs beside vectors of texts that any request asks for."""
        return frozenset().union(*(request.wanted for request, _ in self.texts))

    def prompt_lengths(self) -> list[int] | None:
        """Leading tokens of each text that are excluded from pooling; None if there are none."""
        lengths = [request.prompt_length for request, _ in self.texts]
        return lengths if any(lengths) else None

    def token_types(self) -> list[TokenIds] | None:
        """The type of each token of the texts; None for a model without types."""
        types: list[TokenIds] = []
        for request, index in self.texts:
            if request.token_types is None:
                return None
            types.append(request.token_types[index])
        return types


class FairQueue:
    """Waiting requests, ordered by the due time of their next text. For one thread.

    Attributes:
        work: that of all waiting texts. An abandoned request counts until its next text is due.
    """

    def __init__(self) -> None:
        self.work = 0
        self._heap: list[tuple[float, int, Request]] = []
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, request: Request, tokens_per_second: float) -> None:
        """Add ``request``. ``tokens_per_second`` is the present speed of the engine."""
        self._added += 1
        self.work += request.work
        heapq.heappush(self._heap, (_due(request, tokens_per_second), self._added, request))

    def take(self, budget: int, tokens_per_second: float, now: float = -math.inf) -> Run:
        """Remove and return the texts that are due first, up to the work of ``budget``, but at least one.

        ``now`` is a time of the same clock as the arrivals of requests.

        Abandoned requests are removed here.
        """
        run = Run()
        heap = self._heap
        while heap:
            _, number, request = heap[0]
            if request.abandoned:
                heapq.heappop(heap)
                self.work -= request.work - request.taken_work
                continue
            index = request.order[request.taken]
            length = len(request.token_ids[index])
            work = work_of(length)
            if run.texts and run.work + work > budget:
                break
            run.texts.append((request, index))
            run.tokens += length
            run.work += work
            request.advance(work, tokens_per_second, now)
            if request.taken == len(request.order):
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (_due(request, tokens_per_second), number, request))
        self.work -= run.work
        return run


def _due(request: Request, tokens_per_second: float) -> float:
    work = work_of(len(request.token_ids[request.order[request.taken]]))
    return request.base + request.handicap + (request.piece_work + work) / tokens_per_second
