"""A checkpoint of multilingual-e5-small's shape: XLM-RoBERTa's 250,002 pieces, random weights."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from benchmarks.checkpoints import random_tensors, write_configs

__all__ = ["PIECES", "make_multilingual_checkpoint", "make_vocabulary", "tokenizer_config"]

PIECES = 250_002
"""Of XLM-RoBERTa's vocabulary, without ``<mask>``."""

_SIZES = {"layers": 12, "hidden": 384, "heads": 12, "intermediate": 1536}
_POSITIONS = 514
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_SCRIPTS = (  # first and last letter, share of the pieces, longest piece
    ("a", "z", 0.55, 11),
    ("а", "я", 0.14, 10),
    ("一", "鿿", 0.12, 4),
    ("ا", "ي", 0.07, 8),
    ("가", "힣", 0.06, 4),
    ("ぁ", "ゖ", 0.06, 5),
)
"""Roughly as XLM-RoBERTa's pieces are spread over the scripts."""


def make_vocabulary(file: Path, size: int = PIECES) -> Path:
    """Write a ``tokenizer.json`` of XLM-RoBERTa's kind with ``size`` made-up pieces; return ``file``."""
    pieces = list(dict.fromkeys([*_SPECIAL, *_letters(), *_made_up_pieces()]))[:size]
    scores = [0.0 if piece in _SPECIAL else -math.log(rank + 10) for rank, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    tokenizer.add_special_tokens([*_SPECIAL, "<mask>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(file), pretty=False)
    return file


def make_multilingual_checkpoint(folder: Path) -> Path:
    """Write a sentence-transformers checkpoint; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _configs(folder)
    make_vocabulary(folder / "tokenizer.json")
    tensors: dict[str, np.ndarray] = random_tensors(
        _SIZES, deviation=0.05, vocabulary=PIECES + 1, positions=_POSITIONS, types=1
    )
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def tokenizer_config(max_length: int) -> dict[str, object]:
    """What ``tokenizer_config.json`` says of such a tokenizer."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": "<mask>",
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    }


def _letters() -> Iterator[str]:
    yield "▁"
    for first, last, _, _ in _SCRIPTS:
        yield from map(chr, range(ord(first), ord(last) + 1))


def _made_up_pieces() -> Iterator[str]:
    """Half of them begin a word. There are more than needed, as some occur twice."""
    chance = random.Random(0)
    for first, last, share, longest in _SCRIPTS:
        letters = [chr(code) for code in range(ord(first), ord(last) + 1)]
        for number in range(int(PIECES * share * 1.3)):
            piece = "".join(chance.choices(letters, k=chance.randint(2, longest)))
            yield f"▁{piece}" if number % 2 else piece


def _configs(folder: Path) -> None:
    contents: dict[str, object] = {
        "config.json": {
            "architectures": ["XLMRobertaModel"],
            "model_type": "xlm-roberta",
            "hidden_act": "gelu",
            "hidden_size": _SIZES["hidden"],
            "intermediate_size": _SIZES["intermediate"],
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": _POSITIONS,
            "num_attention_heads": _SIZES["heads"],
            "num_hidden_layers": _SIZES["layers"],
            "pad_token_id": 1,
            "type_vocab_size": 1,
            "vocab_size": PIECES + 1,
        },
        "tokenizer_config.json": tokenizer_config(512),
    }
    write_configs(folder, contents, _SIZES["hidden"])
