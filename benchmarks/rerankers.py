"""Checkpoints of the shapes of bge-reranker-base and -v2-m3 with random weights, and what they rank."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from benchmarks.checkpoints import REHEARSAL, make_checkpoint, random_tensors
from benchmarks.multilingual import PIECES, make_vocabulary, tokenizer_config

__all__ = ["RERANKERS", "Shape", "make_bert_reranker", "make_reranker_checkpoint", "passages_of"]


@dataclass(frozen=True)
class Shape:
    """Sizes of an XLM-RoBERTa. ``positions`` are two more than its longest pair has tokens."""

    layers: int
    hidden: int
    heads: int
    positions: int
    pieces: int = PIECES

    @property
    def max_length(self) -> int:
        """Tokens of its longest pair."""
        return self.positions - 2


RERANKERS = {
    "bge-reranker-base": Shape(12, 768, 12, 514),
    "bge-reranker-v2-m3": Shape(24, 1024, 16, 8194),
    REHEARSAL: Shape(2, 64, 4, 514, 40_000),
}
"""The last is tiny and measures nothing."""

_WORDS = 10_000


def make_reranker_checkpoint(folder: Path, name: str, deviation: float = 0.02) -> Path:
    """Write a checkpoint as transformers saves one; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = RERANKERS[name]
    make_vocabulary(folder / "tokenizer.json", shape.pieces)
    contents = {"config.json": _config(shape), "tokenizer_config.json": tokenizer_config(shape.max_length)}
    for file, content in contents.items():
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    save_file(_tensors(shape, deviation), str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def passages_of(checkpoint: Path, tokens: int, count: int) -> tuple[str, list[str]]:
    """A query of 12 tokens and ``count`` passages of ``tokens`` tokens each, without special ones."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    words = _words(tokenizer)
    random = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(words[int(at)] for at in random.integers(0, len(words), length))

    return text(12), [text(tokens) for _ in range(count)]


def make_bert_reranker(folder: Path, shape: str) -> Path:
    """Write a BertForSequenceClassification of a shape of ``benchmarks.checkpoints``; return its folder."""
    make_checkpoint(folder, shape)
    for name in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (folder / name).unlink()
    (folder / "1_Pooling").rmdir()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    config |= {"architectures": ["BertForSequenceClassification"], **labels}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = load_file(str(folder / "model.safetensors"))
    tensors = {f"bert.{name}": tensor for name, tensor in found.items()}
    random = np.random.default_rng(1)
    tensors["classifier.weight"] = random.standard_normal((1, config["hidden_size"]), dtype=np.float32)
    tensors["classifier.bias"] = np.zeros(1, np.float32)
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def _words(tokenizer: Tokenizer) -> list[str]:
    """Words of one token."""
    pieces = sorted(tokenizer.get_vocab())
    marked = [piece[1:] for piece in pieces if len(piece) > 1 and piece[0] == "▁"]
    words = marked[:_WORDS] or [piece for piece in pieces if len(piece) == 1]
    encodings = tokenizer.encode_batch(words, add_special_tokens=False)
    return [word for word, encoding in zip(words, encodings, strict=True) if len(encoding.ids) == 1]


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "model_type": "xlm-roberta",
        "hidden_act": "gelu",
        "hidden_size": shape.hidden,
        "id2label": {"0": "LABEL_0"},
        "intermediate_size": 4 * shape.hidden,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": shape.positions,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "vocab_size": shape.pieces + 1,
    }


def _tensors(shape: Shape, deviation: float) -> dict[str, np.ndarray]:
    sizes = {"layers": shape.layers, "hidden": shape.hidden, "intermediate": 4 * shape.hidden}
    found = random_tensors(sizes, deviation, vocabulary=shape.pieces + 1, positions=shape.positions, types=1)
    tensors = {f"roberta.{name}": tensor for name, tensor in found.items() if not name.startswith("pooler.")}
    tensors["classifier.dense.weight"] = found["pooler.dense.weight"]
    tensors["classifier.dense.bias"] = found["pooler.dense.bias"]
    random = np.random.default_rng(1)
    tensors["classifier.out_proj.weight"] = random.standard_normal((1, shape.hidden), dtype=np.float32)
    tensors["classifier.out_proj.bias"] = np.zeros(1, np.float32)
    return tensors
