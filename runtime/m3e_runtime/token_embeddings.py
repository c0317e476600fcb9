"""Vectors of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from m3e_runtime.tokenization import TokenIds

__all__ = ["EncodedText", "split_states"]

States = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncodedText:
    """A text's token ids, the vector of each of them, and the vector of the text.

    Attributes:
        token_ids: int32 ``[n]``, special tokens and the prompt's included.
        token_embeddings: float32 ``[n, hidden]``, the hidden states that the pooling takes.
        sentence_embedding: float32 ``[full_dimension]``.
    """

    token_ids: TokenIds
    token_embeddings: States
    sentence_embedding: npt.NDArray[np.float32]


def split_states(states: States, token_ids: Sequence[TokenIds]) -> list[States]:
    """The states of each text, float32 ``[length, hidden]``, from those of all, ``[tokens, hidden]``.

    They are copies, so that keeping one does not keep the memory of the batch.
    """
    bounds = accumulate(map(len, token_ids), initial=0)
    return [states[begin:end].copy() for begin, end in pairwise(bounds)]
