"""The inputs of the encoder: token ids of texts or of pairs, with token types where the model takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_runtime.tokenization import TokenIds

__all__ = ["ModelInputs", "model_inputs"]


@dataclass(frozen=True)
class ModelInputs:
    """Token ids of each text or pair, int32 ``[length]``, and token types, if the model takes them."""

    ids: list[TokenIds]
    types: list[TokenIds] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text or pair."""
        return np.array([len(ids) for ids in self.ids], np.int64)

    def at(self, places: Iterable[int]) -> ModelInputs:
        """Those at ``places``."""
        chosen = list(places)
        types = None if self.types is None else [self.types[place] for place in chosen]
        return ModelInputs([self.ids[place] for place in chosen], types)


def model_inputs(
    checkpoint: BaseCheckpoint, texts: Sequence[str], passages: Sequence[str] = (), prompt: str = ""
) -> ModelInputs:
    """Tokenize ``texts`` with ``prompt`` before each, as first texts of pairs if there are ``passages``."""
    tokenizer, firsts = checkpoint.text_tokenizer(), [prompt + text for text in texts]
    if passages:
        ids, types, _ = tokenizer.encode_pairs(firsts, list(passages))
    else:
        ids = tokenizer.encode_batch(firsts)
        types = [np.zeros_like(each) for each in ids]
    classification = checkpoint.classification
    return ModelInputs(ids, types if classification is not None and classification.token_types else None)
