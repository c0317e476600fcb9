"""M3E's true shapes with random weights: speed does not depend on their values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

__all__ = [
    "REHEARSAL",
    "SHAPES",
    "VOCABULARY",
    "make_checkpoint",
    "make_tokenizer",
    "random_tensors",
    "sizes_of",
    "write_configs",
]

SHAPES = {
    "m3e-small": {"layers": 4, "hidden": 512, "heads": 8, "intermediate": 2048},
    "m3e-base": {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072},
}
REHEARSAL = "rehearsal"
_TINY = {"layers": 2, "hidden": 128, "heads": 4, "intermediate": 256}
VOCABULARY = 21128
_SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}


def sizes_of(shape: str) -> dict[str, int]:
    """Layers, widths and heads of a shape; :data:`REHEARSAL` is a tiny one that measures nothing."""
    return _TINY if shape == REHEARSAL else SHAPES[shape]


def make_checkpoint(folder: Path, shape: str, deviation: float = 0.05) -> Path:
    """Write a sentence-transformers checkpoint of ``shape``; return its folder.

    ``deviation`` is the weights' standard deviation. With BERT's ``initializer_range``, 0.02, a vector still
    tells which words are in its text; with the default, layers mix them past recognition.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sizes_of(shape)
    _configs(folder, sizes)
    make_tokenizer(folder)
    save_file(random_tensors(sizes, deviation), str(folder / "model.safetensors"))
    return folder


def _configs(folder: Path, sizes: dict[str, int]) -> None:
    contents: dict[str, object] = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": sizes["hidden"],
            "intermediate_size": sizes["intermediate"],
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "num_attention_heads": sizes["heads"],
            "num_hidden_layers": sizes["layers"],
            "pad_token_id": 0,
            "position_embedding_type": "absolute",  # CTranslate2's converter reads it
            "type_vocab_size": 2,
            "vocab_size": VOCABULARY,
        },
    }
    write_configs(folder, contents, sizes["hidden"])


def write_configs(folder: Path, contents: dict[str, object], hidden: int, longest: int = 512) -> None:
    """Write ``contents`` as JSON files, and the configuration of a mean over at most ``longest`` tokens."""
    pooled = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_cls_token": False,
        },
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
    }
    for name, content in {**contents, **pooled}.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")


def make_tokenizer(folder: Path, longest: int = 512) -> None:
    """Write a tokenizer for which every Chinese character is a token, and its settings."""
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "model_max_length": longest,
        **{f"{name.strip('[]').lower()}_token": name for name in _SPECIAL},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    free = [n for n in range(VOCABULARY) if n not in _SPECIAL.values()]
    characters = (chr(0x4E00 + n) if n < 0x5200 else f"[unused{n}]" for n in range(VOCABULARY))
    vocabulary = {**_SPECIAL, **dict(zip(characters, free, strict=False))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 101), ("[SEP]", 102)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def random_tensors(
    sizes: dict[str, int],
    deviation: float,
    vocabulary: int = VOCABULARY,
    positions: int = 512,
    types: int = 2,
) -> dict[str, np.ndarray]:
    """The weights of a BERT of these sizes, with their names in transformers."""
    random = np.random.default_rng(0)
    hidden, wide = sizes["hidden"], sizes["intermediate"]
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int) -> None:
        tensors[name] = random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    def dense(name: str, outputs: int, inputs: int) -> None:
        normal(f"{name}.weight", outputs, inputs)
        normal(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        tensors[f"{name}.weight"] = np.ones(hidden, np.float32)
        tensors[f"{name}.bias"] = np.zeros(hidden, np.float32)

    for name, rows in (("word", vocabulary), ("position", positions), ("token_type", types)):
        normal(f"embeddings.{name}_embeddings.weight", rows, hidden)
    norm("embeddings.LayerNorm")
    for index in range(sizes["layers"]):
        base = f"encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{base}.attention.{part}", hidden, hidden)
        norm(f"{base}.attention.output.LayerNorm")
        dense(f"{base}.intermediate.dense", wide, hidden)
        dense(f"{base}.output.dense", hidden, wide)
        norm(f"{base}.output.LayerNorm")
    dense("pooler.dense", hidden, hidden)
    return tensors
