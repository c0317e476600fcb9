"""Shapes of encoders after BERT with random weights, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.checkpoints import VOCABULARY, make_tokenizer, write_configs

__all__ = ["LONGEST", "NEWER_SHAPES", "make_newer_checkpoint"]

LONGEST = 8192
_BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY,  # of the shared tokenizer: the size of the table does not change the speed
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
}
NEWER_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "nomic-bert": ("NomicBert", {**_BASE, "type_vocab_size": 2}),
    "gte-multilingual": ("Gte", {**_BASE, "type_vocab_size": 1, "hidden_act": "gelu"}),
    "modernbert": (
        "ModernBert",
        {
            **_BASE,
            "num_hidden_layers": 22,
            "intermediate_size": 1152,
            "cls_token_id": 101,
            "sep_token_id": 102,
        },
    ),
    "rehearsal": (
        "NomicBert",
        {
            **_BASE,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 96,
        },
    ),
}
"""By name: the stem of transformers' classes, and the configuration. The last measures nothing."""


def make_newer_checkpoint(folder: Path, shape: str) -> Path:
    """Write a sentence-transformers checkpoint of ``shape``; return its folder."""
    import torch
    import transformers

    stem, settings = NEWER_SHAPES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = getattr(transformers, f"{stem}Config")(**settings)
    getattr(transformers, f"{stem}Model")(config).save_pretrained(folder)
    write_configs(folder, {}, settings["hidden_size"], LONGEST)
    make_tokenizer(folder, LONGEST)
    return folder
