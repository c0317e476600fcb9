"""The result of sentence-transformers for ``output_value=None``."""

from __future__ import annotations

from typing import Any

import numpy as np

from m3e_runtime.extras import extra_packages
from m3e_runtime.token_embeddings import EncodedText

__all__ = ["features", "import_torch"]


def import_torch() -> Any:
    """The module ``torch``.

    Raises:
        DependencyMissingError: it is not installed.
    """
    with extra_packages("giving tensors (m3e_runtime.Encoder gives arrays)", "torch", "torch"):
        import torch
    return torch


def features(text: EncodedText, prompt_length: int, truncate_dim: int) -> dict[str, Any]:
    """A text's entries in the dictionary that a model of sentence-transformers fills, without padding.

    Args:
        text: the text, encoded.
        prompt_length: tokens of its prompt; 0 where it has none.
        truncate_dim: leading dimensions of the sentence embedding that are kept.

    Raises:
        DependencyMissingError: torch is not installed.
    """
    torch = import_torch()
    ids = torch.from_numpy(text.token_ids.astype(np.int64))
    return {
        "input_ids": ids,
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
        "modality": "text",
        **({"prompt_length": prompt_length} if prompt_length else {}),
        "token_embeddings": torch.from_numpy(text.token_embeddings),
        "sentence_embedding": torch.from_numpy(text.sentence_embedding[:truncate_dim]),
    }
