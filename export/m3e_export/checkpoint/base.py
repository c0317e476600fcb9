"""A checkpoint of any family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from m3e_export.checkpoint.head import HeadLayer
from m3e_export.checkpoint.sentence_config import SentenceConfig
from m3e_export.checkpoint.source import Origin
from m3e_export.checkpoint.token_heads import TokenHeads
from m3e_runtime.manifest import Classification
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["BaseCheckpoint"]


@dataclass(frozen=True, kw_only=True)
class BaseCheckpoint:
    """A checkpoint without its encoder: the tokenizer, and how states become sentence vectors.

    ``config`` is the content of the transformer's config.json, ``hidden`` the width of its states,
    ``dimension`` the length of a sentence vector. ``special_tokens`` maps roles such as ``cls_token`` to
    tokens. ``dense`` are the layers after the pooling, including the encoder's pooler if it is used.
    ``state_weights``, float32 ``[layers + 1]``, are the weights of the embeddings' and each layer's states in
    the pooled states; None pools the last states only. ``classification`` is there for rerankers and
    classifiers: ``dimension`` is their number of labels, and a "sentence vector" the row of their logits.
    ``token_heads`` give each token a weight and a vector.
    """

    source: str
    origin: Origin
    sentence_config: SentenceConfig
    config: dict[str, Any]
    model_type: str
    hidden: int
    dimension: int
    weights_sha256: str
    tokenizer: Tokenizer
    special_tokens: dict[str, str]
    max_length: int
    pad_token_id: int
    licence: str
    dense: tuple[HeadLayer, ...] = ()
    state_weights: npt.NDArray[np.float32] | None = None
    classification: Classification | None = None
    token_heads: TokenHeads | None = None

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        return self.origin.folder

    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer as the runtime uses it."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        return TextTokenizer.wrap(copy, self.max_length)
