"""The checkpoint's tokenizer as one ``tokenizer.json``, with the settings that transformers would apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.errors import CheckpointError

__all__ = ["load_tokenizer", "tokenizer_length"]

# tokenizer_config.json key → BertNormalizer key: transformers rebuilds the normalizer from these.
_NORMALIZER_KEYS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_UNSET_LENGTH = 1_000_000  # transformers writes 1e30 when no maximum was ever set


def load_tokenizer(folder: Path, lower_case: bool = False) -> Tokenizer:
    """Load ``tokenizer.json``, or build a WordPiece tokenizer from ``vocab.txt``.

    Args:
        folder: where the files are.
        lower_case: lower-case before anything else, as ``do_lower_case`` in sentence_bert_config.json asks;
            special tokens written out in a text stay as they are.

    Raises:
        CheckpointError: neither is there, or it cannot be read.
    """
    tokenizer = _load(folder)
    if lower_case:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def _load(folder: Path) -> Tokenizer:
    settings = read_object(folder / "tokenizer_config.json")
    file = folder / "tokenizer.json"
    try:
        if file.is_file():
            return Tokenizer.from_str(_configured(file.read_text(encoding="utf-8"), settings))
        if (folder / "vocab.txt").is_file():
            return _from_vocabulary(folder / "vocab.txt", settings)
    except CheckpointError:
        raise
    except Exception as error:  # the library raises a bare Exception
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error}).") from error
    raise CheckpointError(f"{folder}: no tokenizer.json or vocab.txt.")


def tokenizer_length(folder: Path) -> int | None:
    """``model_max_length`` of ``tokenizer_config.json``, unless it is the "never set" of transformers."""
    length = read_object(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(length, (int, float)) and 0 < length < _UNSET_LENGTH:
        return int(length)
    return None


def _configured(text: str, settings: dict[str, Any]) -> str:
    content = json.loads(text)
    normalizer = content.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        for key, target in _NORMALIZER_KEYS.items():
            if key in settings:
                normalizer[target] = settings[key]
    content["truncation"] = content["padding"] = None  # the runtime sets its own
    return json.dumps(content, ensure_ascii=False)


def _from_vocabulary(file: Path, settings: dict[str, Any]) -> Tokenizer:
    lower = bool(settings.get("do_lower_case", True))
    built = BertWordPieceTokenizer(
        str(file),
        lowercase=lower,
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    return Tokenizer.from_str(built.to_str())
