"""Parts of texts that have vectors of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from m3e_runtime.planning import Batch

__all__ = ["Parts"]

Vectors = npt.NDArray[np.float32]
Pool = Callable[[Vectors, Sequence[tuple[int, int]]], Vectors]


class Parts:
    """Parts of texts that have vectors of their own, made of the states of their tokens.

    Args:
        tokens: of each text, where the tokens of its parts begin and end.
        pool: makes the vectors of parts, float32 ``[parts, dimension]``, of the states of a text's tokens and
            of the places of the parts.
    """

    def __init__(self, tokens: Sequence[Sequence[tuple[int, int]]], pool: Pool) -> None:
        self._tokens = tokens
        self._pool = pool
        bounds = accumulate(map(len, tokens), initial=0)
        self._places = [slice(begin, end) for begin, end in pairwise(bounds)]

    @property
    def count(self) -> int:
        """The number of all parts."""
        return sum(map(len, self._tokens))

    def place(self, index: int) -> slice:
        """Where the vectors of the parts of a text are among those of all."""
        return self._places[index]

    def pooled(self, index: int, states: Vectors) -> Vectors:
        """The vectors of the parts of a text."""
        return self._pool(states, self._tokens[index])

    def vectors(self, batches: Iterable[tuple[Batch, Vectors, list[Vectors]]], dimension: int) -> Vectors:
        """The vectors of all parts, float32 ``[parts, dimension]``.

        ``batches`` are what :meth:`m3e_runtime.Encoder.run_states` gives for the texts. If they end early,
        the other vectors are undefined.
        """
        found = np.empty((self.count, dimension), np.float32)
        for batch, _, states in batches:
            for index, of_text in zip(batch.indices.tolist(), states, strict=True):
                found[self.place(index)] = self.pooled(index, of_text)
        return found
