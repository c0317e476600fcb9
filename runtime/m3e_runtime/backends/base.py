"""What the encoder needs from an engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Backend"]


class Backend(Protocol):
    """An engine with one artifact loaded. ``run`` may be called from several threads at once."""

    name: str
    version: str
    threads: int

    def run(
        self, token_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Encode a right-padded batch.

        Args:
            token_ids: int64 ``[batch, length]``.
            attention_mask: int64 ``[batch, length]``, 1 for tokens and 0 for padding.

        Returns:
            Sentence vectors, float32 ``[batch, dimension]``.
        """
        ...
