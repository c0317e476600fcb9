"""Small tokenizer.json files, for one of their parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer

__all__ = ["added_token", "tokenizer_json", "with_pieces_as_words", "words"]

_UNKNOWN = "[UNK]"


def tokenizer_json(model: dict[str, Any], **parts: Any) -> str:
    """A tokenizer.json of ``model`` and other members."""
    absent = dict.fromkeys(
        ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    )
    return json.dumps({"version": "1.0", **absent, "added_tokens": [], "model": model, **parts})


def words(vocabulary: Iterable[str]) -> dict[str, Any]:
    """The model that knows these words and nothing else."""
    others = sorted(set(vocabulary) - {_UNKNOWN})
    ids = {word: number for number, word in enumerate([_UNKNOWN, *others])}
    return {"type": "WordLevel", "vocab": ids, "unk_token": _UNKNOWN}


def with_pieces_as_words(pre_tokenizer: dict[str, Any], texts: Sequence[str], **parts: Any) -> str:
    """A tokenizer.json in which each piece that the crate makes of ``texts`` has an id of its own."""
    unknowing = Tokenizer.from_str(tokenizer_json(words([]), pre_tokenizer=pre_tokenizer, **parts))
    assert unknowing.pre_tokenizer is not None

    def pieces(text: str) -> Iterable[str]:
        normalizer = unknowing.normalizer
        normalized = normalizer.normalize_str(text) if normalizer else text
        return (piece for piece, _ in unknowing.pre_tokenizer.pre_tokenize_str(normalized))

    known = words(piece for text in texts for piece in pieces(text))
    return tokenizer_json(known, pre_tokenizer=pre_tokenizer, **parts)


def added_token(content: str, number: int = 0, **flags: bool) -> dict[str, Any]:
    """An entry of ``added_tokens``."""
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": number, "content": content, **dict.fromkeys(names, False), **flags}
