"""Groups of texts with equally many tokens, which the original model computes without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["equal_lengths"]

_TOKENS = 2048
"""Tokens of the texts that run together. One text at a time reads the weights too often."""


def equal_lengths(lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """The places in ``lengths``, int64 ``[texts]``, in groups of one length, the longest first.

    No group is empty. A text that is longer than a group may be is a group of its own.
    """
    for length in np.unique(lengths)[::-1]:
        places = np.flatnonzero(lengths == length)
        groups = math.ceil(len(places) * length / _TOKENS)
        yield from np.array_split(places, min(groups, len(places)))
