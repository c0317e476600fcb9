"""What a checkpoint is, whatever encoder it has."""

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
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["BaseCheckpoint"]


@dataclass(frozen=True, kw_only=True)
class BaseCheckpoint:
    """How texts become token ids, and the states of an encoder sentence vectors.

    ``config`` is the transformer's config.json; ``hidden`` the width of its states; ``dimension`` the length
    of a sentence vector; ``special_tokens`` maps parts, as ``cls_token``, to tokens; ``dense`` are the layers
    after the pooling, the encoder's pooler among them where it is asked for. ``state_weights``, float32
    ``[layers + 1]``, is the share of each state in what is pooled, the embeddings' first; None where the last
    states alone are pooled.
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

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.origin.folder

    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer exactly as the runtime will use it."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        return TextTokenizer.wrap(copy, self.max_length)
