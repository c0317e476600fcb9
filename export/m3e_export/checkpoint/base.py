"""What a checkpoint is, whatever encoder it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from m3e_export.checkpoint.layout import Layout
from m3e_export.checkpoint.pooling import Dense
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["BaseCheckpoint"]


@dataclass(frozen=True, kw_only=True)
class BaseCheckpoint:
    """How texts become token ids, and the states of an encoder sentence vectors.

    ``config`` is the transformer's config.json; ``hidden`` the width of its states; ``dimension`` the length
    of a sentence vector; ``special_tokens`` maps parts, as ``cls_token``, to tokens; ``dense`` are the layers
    after the pooling, the encoder's pooler among them where it is asked for.
    """

    source: str
    folder: Path
    layout: Layout
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
    dense: tuple[Dense, ...] = ()

    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer exactly as the runtime will use it."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        return TextTokenizer.wrap(copy, self.max_length)
