"""A small checkpoint with bge-m3's files, and its authors' formulas in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from families import make_family
from synthetic import modules_of, write_json

__all__ = ["SIZE", "authors_outputs", "make_bge_m3"]

SIZE = 48
"""Of the vectors of tokens; neither a multiple of 32 nor the width of the states."""


def make_bge_m3(folder: Path, **config: Any) -> Path:
    """Write XLM-R with pooling by the first token, unit length, and the two linear layers."""
    import torch

    make_family(folder, "xlm-roberta", config=config)
    write_json(folder / "modules.json", modules_of("Transformer", "Pooling", "Normalize"))
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 64, "pooling_mode": "cls"})
    torch.manual_seed(1)
    for name, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", SIZE)):
        torch.save(torch.nn.Linear(64, outputs).state_dict(), folder / name)
    return folder


def authors_outputs(
    folder: Path, text: str, max_length: int = 128
) -> tuple[np.ndarray, dict[int, float], np.ndarray]:
    """The dense vector, the lexical weights and the ColBERT vectors as FlagEmbedding's M3Embedder has them.

    Written after ``FlagEmbedding/finetune/embedder/encoder_only/m3/modeling.py`` and
    ``FlagEmbedding/inference/embedder/encoder_only/m3.py``.
    """
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sparse_linear = torch.nn.Linear(64, 1)
    sparse_linear.load_state_dict(torch.load(folder / "sparse_linear.pt"))
    colbert_linear = torch.nn.Linear(64, SIZE)
    colbert_linear.load_state_dict(torch.load(folder / "colbert_linear.pt"))
    inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state[0]
        dense = torch.nn.functional.normalize(states[:1], dim=-1)[0]
        weights = torch.relu(sparse_linear(states))[:, 0]
        vectors = torch.nn.functional.normalize(colbert_linear(states[1:]), dim=-1)
    names = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    unused = {getattr(tokenizer, name) for name in names}
    lexical: dict[int, float] = {}
    for token, weight in zip(inputs["input_ids"][0].tolist(), weights.tolist(), strict=True):
        if token not in unused and weight > lexical.get(token, 0):
            lexical[token] = weight
    return dense.numpy(), lexical, vectors.numpy()
