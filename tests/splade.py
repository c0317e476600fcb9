"""SparseEncoder folders (SPLADE) with random weights, and the original's weights of terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from families import make_masked_model
from synthetic import read_json, update_json, write_json

__all__ = ["LONGEST_TEXT", "as_version_5", "make_splade", "original_weights"]

LONGEST_TEXT = 100  # tokens; the tokenizers name more than the position tables of some families have


def make_splade(folder: Path, family: str = "bert", **pooling: Any) -> Path:
    """Write what SparseEncoder saves; ``pooling`` are settings of its SpladePooling."""
    from sentence_transformers import SparseEncoder

    plain = make_masked_model(folder.with_name(f"{folder.name}-plain"), family)
    SparseEncoder(str(plain), device="cpu").save_pretrained(str(folder))
    if pooling:
        update_json(folder / "1_SpladePooling" / "config.json", **pooling)
    return folder


def as_version_5(folder: Path) -> Path:
    """Rename the modules, and leave out the task, as versions before 6 wrote them."""
    modules = read_json(folder / "modules.json")
    for module, name in zip(modules, ("MLMTransformer", "SpladePooling"), strict=True):
        module["type"] = f"sentence_transformers.sparse_encoder.models.{name}"
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST_TEXT, "do_lower_case": False})
    return folder


def original_weights(folder: Path, texts: list[str]) -> np.ndarray:
    """The weights of sentence-transformers, float32 ``[n, vocabulary]``, of one text at a time."""
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(str(folder), device="cpu")
    model.max_seq_length = min(model.max_seq_length, LONGEST_TEXT)
    rows = [model.encode([text], convert_to_sparse_tensor=False, show_progress_bar=False) for text in texts]
    return np.concatenate([np.asarray(row) for row in rows])
