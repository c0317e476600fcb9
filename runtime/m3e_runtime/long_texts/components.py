"""The steps of a tokenizer, read from its ``tokenizer.json``."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

__all__ = ["Step", "is_bert", "normalized", "normalizer_steps", "pieces_of", "pre_tokenizer_steps"]

Step = dict[str, Any]


def normalizer_steps(tokenizer: Tokenizer) -> list[Step]:
    """The normalizers in order, each as ``tokenizer.json`` describes it."""
    return _flat(tokenizer.normalizer, "normalizers")


def pre_tokenizer_steps(tokenizer: Tokenizer) -> list[Step]:
    """The pre-tokenizers in order, each as ``tokenizer.json`` describes it."""
    return _flat(tokenizer.pre_tokenizer, "pretokenizers")


def is_bert(tokenizer: Tokenizer) -> bool:
    """Whether it normalizes and splits as BERT's does, one character at a time."""
    steps = (*normalizer_steps(tokenizer), *pre_tokenizer_steps(tokenizer))
    return [step["type"] for step in steps] == ["BertNormalizer", "BertPreTokenizer"]


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words that the model of ``tokenizer`` sees of ``text``, which holds no added token."""
    text = normalized(tokenizer, text)
    if tokenizer.pre_tokenizer is None:
        return [text]
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def normalized(tokenizer: Tokenizer, text: str) -> str:
    """``text`` as the normalizers of ``tokenizer`` leave it."""
    return text if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str(text)


def _flat(component: Any, members: str) -> list[Step]:
    return [] if component is None else _flat_state(json.loads(component.__getstate__()), members)


def _flat_state(state: Step, members: str) -> list[Step]:
    if state["type"] != "Sequence":
        return [state]
    return [step for member in state[members] for step in _flat_state(member, members)]
