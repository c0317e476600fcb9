"""What the encoder needs from an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from m3e_runtime.tokenization import TokenIds

__all__ = ["Backend"]


class Backend(Protocol):
    """An engine with one artifact loaded. ``run`` may be called from several threads at once."""

    name: str
    version: str
    threads: int
    instruction_set: str | None
    """The instruction set in use, where the engine tells."""
    pads: bool
    """Whether texts of unequal length are padded to the longest, so that like lengths should run together."""

    def run(self, token_ids: Sequence[TokenIds]) -> npt.NDArray[np.float32]:
        """Encode texts together.

        Args:
            token_ids: int32 ``[length]`` for each text, special tokens included.

        Returns:
            Sentence vectors, float32 ``[len(token_ids), dimension]``.
        """
        ...
