"""The vectors of a text's chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ChunkedText"]


@dataclass(frozen=True)
class ChunkedText:
    """The chunks of a text, in its order.

    Attributes:
        vectors: ``[chunks, dimension]``, one for each chunk.
        start: where each chunk begins in the text, in characters (code points), int64 ``[chunks]``.
        end: where each chunk ends, likewise: chunk ``i`` is ``text[start[i]:end[i]]``.
    """

    vectors: npt.NDArray[Any]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def texts(self, text: str) -> list[str]:
        """The chunks' own texts, from the text that was encoded."""
        return [text[start:end] for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True)]
