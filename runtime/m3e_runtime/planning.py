"""Grouping texts into batches: sorted by length, up to a token budget, with little padding.

A padded batch of n texts costs n · (longest length) tokens of arithmetic. Sorting puts texts of similar
length together; the remaining question is when to end a batch. Starting another run costs about as much as a
few tokens, because the weights pass through the caches again. A batch grows while its padding is below that,
or below a small share of the batch.

Attention grows with the square of a text's length. Batches without padding, and the queue of
:mod:`m3e_runtime.scheduling`, are therefore measured by :func:`work_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_PADDING_SHARE", "Batch", "plan", "plan_packed", "work_of"]

MAX_PADDING_SHARE = 0.05
"""Largest share of padding in a batch's computed tokens."""

RUN_OVERHEAD_TOKENS = 8
"""Padding tokens that cost less than another run."""


SHORT_TOKENS = 512
"""Texts of up to this many tokens count by their tokens alone."""

ATTENTION_TOKENS = 2048
"""So many tokens more make the attention of a token as expensive as all else that is computed for it. The
number is that of an encoder of 768 columns; it matters little that others differ."""


def work_of(length: int) -> int:
    """What a text of ``length`` tokens costs, as a number of tokens in short texts."""
    return length + length * max(0, length - SHORT_TOKENS) // ATTENTION_TOKENS


@dataclass(frozen=True)
class Batch:
    """Texts that an engine computes in one run.

    Attributes:
        indices: positions of the texts, int64 ``[n]``.
        tokens: tokens that the run computes, including padding.
    """

    indices: npt.NDArray[np.int64]
    tokens: int


def plan_packed(
    lengths: npt.NDArray[np.int64], token_budget: int, max_batch: int | None = None
) -> Iterator[Batch]:
    """Group texts for an engine without padding: the longest first, up to a budget of work.

    Args:
        lengths: token counts, int64 ``[n]``.
        token_budget: most work of a batch, as :func:`work_of` counts it; a text of more runs alone.
        max_batch: largest number of texts in a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    work = np.fromiter(map(work_of, lengths[order].tolist()), np.int64, len(order))
    total = np.concatenate([[0], np.cumsum(work)])
    start = 0
    while start < len(order):
        fits = int(np.searchsorted(total, total[start] + token_budget, side="right")) - 1
        stop = max(start + 1, min(fits, start + (max_batch or len(order))))
        indices = order[start:stop]
        yield Batch(indices, int(lengths[indices].sum()))
        start = stop


def plan(
    lengths: npt.NDArray[np.int64],
    token_budget: int,
    most_texts: Callable[[int], int | None] = lambda longest: None,
) -> Iterator[Batch]:
    """Group texts into padded batches; each text is in exactly one.

    Args:
        lengths: token counts, int64 ``[n]``.
        token_budget: largest n · length of a batch; a longer text runs alone.
        most_texts: largest number of texts in a batch, given its longest length; None: no limit.
    """
    order = np.argsort(-lengths, kind="stable")  # longest first: memory peaks in the first batch
    start = 0
    while start < len(order):
        stop = _batch_end(lengths, order, start, token_budget, most_texts)
        yield Batch(order[start:stop], (stop - start) * int(lengths[order[start]]))
        start = stop


def _batch_end(
    lengths: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    start: int,
    token_budget: int,
    most_texts: Callable[[int], int | None],
) -> int:
    longest = int(lengths[order[start]])
    limit = max(1, token_budget // max(longest, 1))
    most = most_texts(longest)
    if most is not None:
        limit = min(limit, most)
    stop, padding = start + 1, 0
    while stop < min(start + limit, len(order)):
        padding += longest - int(lengths[order[stop]])
        computed = (stop + 1 - start) * longest
        if padding > max(MAX_PADDING_SHARE * computed, RUN_OVERHEAD_TOKENS):
            break
        stop += 1
    return stop
