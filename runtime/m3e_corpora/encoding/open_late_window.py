"""A window that is being filled with the chunks of late chunking."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3e_corpora.encoding.open_window import OpenWindow
from m3e_corpora.encoding.window import TokenizedBatch
from m3e_corpora.inputs.rows import Rows
from m3e_runtime.chunking import LateWindow
from m3e_runtime.planning import Batch

__all__ = ["OpenLateWindow"]

_Key = tuple[bytes, tuple[tuple[int, int], ...]]


@dataclass
class OpenLateWindow(OpenWindow):
    """The model reads many chunks at once, and each row has the vector of one of them."""

    _firsts: dict[_Key, int] = field(default_factory=dict)
    _distinct: list[LateWindow] = field(default_factory=list)

    def _place(self, rows: Rows) -> list[int]:
        places: list[int] = []
        for read in rows.windows or ():
            first = self._first(read)
            places += range(first, first + len(read.tokens))
        return places

    def _first(self, read: LateWindow) -> int:
        """Where the vectors of what is read at once begin. The same tokens give the same vectors."""
        key = read.token_ids.tobytes(), tuple(read.tokens)
        if key not in self._firsts:
            self._firsts[key] = len(self.cut)
            self._distinct.append(read)
            self.cut += [False] * len(read.tokens)
            self.tokens += len(read.token_ids)
        return self._firsts[key]

    def _plan(self, wanted: npt.NDArray[np.int64]) -> tuple[list[TokenizedBatch], int]:
        del wanted  # all are: no chunk is left out
        planned = self._planned([len(read.token_ids) for read in self._distinct])
        firsts = np.fromiter(self._firsts.values(), np.int64, len(self._firsts))
        return [self._late_batch(batch, firsts) for batch in planned], sum(each.tokens for each in planned)

    def _late_batch(self, batch: Batch, firsts: npt.NDArray[np.int64]) -> TokenizedBatch:
        some = [self._distinct[at] for at in batch.indices]
        places = [
            np.arange(first, first + len(read.tokens))
            for first, read in zip(firsts[batch.indices], some, strict=True)
        ]
        return TokenizedBatch(
            np.concatenate(places),
            [read.token_ids for read in some],
            None,
            parts=[read.tokens for read in some],
        )
