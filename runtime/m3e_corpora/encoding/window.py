"""A window: rows that are tokenized and sorted together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3e_corpora.inputs.rows import BadRow, Rows
from m3e_corpora.job.counts import Counts
from m3e_runtime.tokenization import TokenIds

__all__ = ["TokenizedBatch", "Window"]


class TokenizedBatch(NamedTuple):
    """A batch of a window.

    Attributes:
        indices: positions of the vectors among the window's distinct ones, int64 ``[n]``: one for each text,
            or one for each of its ``parts``.
        token_ids: the tokens of each text.
        prompt_lengths: as :meth:`m3e_runtime.Encoder.run` takes them.
        token_types: as :meth:`m3e_runtime.Reranker.run` takes them.
        parts: for late chunking, where the tokens of each chunk of each text begin and end.
    """

    indices: npt.NDArray[np.int64]
    token_ids: list[TokenIds]
    prompt_lengths: list[int] | None
    token_types: list[TokenIds] | None = None
    parts: list[list[tuple[int, int]]] | None = None


@dataclass(frozen=True)
class Window:
    """Tokenized rows of one partition.

    Attributes:
        partition: number of the partition.
        rows: the rows.
        places: position of each row's vector among the distinct ones, int64 ``[rows]``.
        distinct: number of distinct vectors.
        batches: the texts to compute.
        counts: how the rows are processed.
        last: whether this is the last window of the partition.
    """

    partition: int
    rows: list[Rows]
    places: npt.NDArray[np.int64]
    distinct: int
    batches: list[TokenizedBatch]
    counts: Counts
    last: bool

    @property
    def bad(self) -> list[BadRow]:
        """Rows that are left out."""
        return [row for rows in self.rows for row in rows.bad]

    @property
    def size(self) -> int:
        """Bytes of the input."""
        return sum(rows.size for rows in self.rows)
