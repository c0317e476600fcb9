"""The checkpoint's tokenizer as one ``tokenizer.json``, with the settings that transformers would apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from m3e_export.checkpoint import vocabulary
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.special_tokens import (
    ALBERT_TOKENS,
    BERT_TOKENS,
    MPNET_TOKENS,
    ROBERTA_TOKENS,
    read_special_tokens,
)
from m3e_export.errors import CheckpointError, ExportDependencyError, UnsupportedModelError

__all__ = [
    "has_tokenizer",
    "load_tokenizer",
    "only_bert_vocabulary",
    "special_token_names",
    "tokenizer_length",
]

# tokenizer_config.json key → BertNormalizer key, and what silence means: transformers rebuilds the
# normalizer from these.
_NORMALIZER_KEYS = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
_UNSET_LENGTH = 1_000_000  # transformers writes 1e30 when no maximum was ever set

_ALBERT, _BERT, _MPNET, _ROBERTA = "AlbertTokenizer", "BertTokenizer", "MPNetTokenizer", "RobertaTokenizer"
_XLM_ROBERTA, _CAMEMBERT = "XLMRobertaTokenizer", "CamembertTokenizer"
_ALIKE = {"DistilBertTokenizer": _BERT, "ErnieTokenizer": _BERT, "BertTokenizerLegacy": _BERT}
# Classes that take tokenizer.json as it is.
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")
_FILES = {
    _ALBERT: ("spiece.model",),
    _BERT: ("vocab.txt",),
    _MPNET: ("vocab.txt",),
    _ROBERTA: ("vocab.json", "merges.txt"),
    _XLM_ROBERTA: ("sentencepiece.bpe.model",),
    _CAMEMBERT: ("sentencepiece.bpe.model",),
}
_WORDPIECE = {_BERT: BERT_TOKENS, _MPNET: MPNET_TOKENS}
_OF_MODEL = {
    "albert": _ALBERT,
    "mpnet": _MPNET,
    "roberta": _ROBERTA,
    "xlm-roberta": _XLM_ROBERTA,
    "camembert": _CAMEMBERT,
}


def has_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` holds the files of a tokenizer."""
    names = {"tokenizer.json", *(name for files in _FILES.values() for name in files)}
    return any((folder / name).is_file() for name in names)


def load_tokenizer(folder: Path, model_type: str = "bert", lower_case: bool = False) -> Tokenizer:
    """Load ``tokenizer.json``, or build the tokenizer from the vocabulary files that its class has.

    Args:
        folder: where the files are.
        model_type: the model's family, whose tokenizer it is where tokenizer_config.json names none.
        lower_case: lower-case before anything else, as ``do_lower_case`` in sentence_bert_config.json asks;
            special tokens written out in a text stay as they are.

    Raises:
        CheckpointError: the files are not there, or cannot be read.
        ExportDependencyError: a SentencePiece model, and what converts it is not installed.
        UnsupportedModelError: no tokenizer.json, and a class that is not known.
    """
    settings = read_object(folder / "tokenizer_config.json")
    try:
        tokenizer = _load(folder, settings, model_type)
    except (CheckpointError, ExportDependencyError):
        raise
    except Exception as error:  # the libraries raise a bare Exception
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error}).") from error
    if lower_case:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def _load(folder: Path, settings: dict[str, Any], model_type: str) -> Tokenizer:
    named, kind = _class(settings), _kind(settings, model_type)
    kind = _BERT if only_bert_vocabulary(folder, model_type) else kind
    file = folder / "tokenizer.json"
    if file.is_file():
        rebuilt = None if named in _GENERIC else kind
        return Tokenizer.from_str(_configured(file.read_text(encoding="utf-8"), settings, rebuilt))
    if kind not in _FILES:
        raise UnsupportedModelError(
            f"{folder}: has no tokenizer.json, and a {kind} is not built from its vocabulary; "
            f"known: {', '.join(_FILES)}."
        )
    files = _FILES[kind]
    if not all((folder / name).is_file() for name in files):
        raise CheckpointError(f"{folder}: no tokenizer.json or {' and '.join(files)}.")
    if kind in _WORDPIECE:
        return vocabulary.wordpiece(folder, settings, _WORDPIECE[kind])
    if kind == _ROBERTA:
        return vocabulary.byte_level_bpe(folder, settings)
    return vocabulary.unigram(folder, files[0], kind)


def only_bert_vocabulary(folder: Path, model_type: str) -> bool:
    """Whether these are the files of a Chinese ALBERT, which has BERT's vocabulary and does not say so.

    transformers takes AlbertTokenizer then, and gives it no vocabulary at all.
    """
    if model_type != "albert" or _class(read_object(folder / "tokenizer_config.json")) is not None:
        return False
    others = ("tokenizer.json", *_FILES[_ALBERT])
    return (folder / "vocab.txt").is_file() and not any((folder / name).is_file() for name in others)


def _class(settings: dict[str, Any]) -> str | None:
    """The tokenizer's class, fast or slow, under the name of those that do the same."""
    name = settings.get("tokenizer_class")
    if not isinstance(name, str):
        return None
    name = name.removesuffix("Fast")
    return _ALIKE.get(name, name)


def _kind(settings: dict[str, Any], model_type: str) -> str:
    """The class, or that of the model's family where none is named or a general one."""
    named = _class(settings)
    return _OF_MODEL.get(model_type, _BERT) if named in (None, *_GENERIC) else str(named)


def special_token_names(folder: Path, tokenizer: Tokenizer, model_type: str = "bert") -> dict[str, str]:
    """The special tokens by their part, such as ``cls_token``, of those that ``tokenizer`` has."""
    settings = read_object(folder / "tokenizer_config.json")
    named = read_special_tokens(folder, settings, _default_tokens(tokenizer, _kind(settings, model_type)))
    return {
        part: token.content
        for part, token in sorted(named.items())
        if tokenizer.token_to_id(token.content) is not None
    }


def _default_tokens(tokenizer: Tokenizer, kind: str) -> dict[str, str]:
    if kind == _MPNET:
        return MPNET_TOKENS
    if tokenizer.token_to_id(BERT_TOKENS["cls_token"]) is None:
        return ROBERTA_TOKENS
    return BERT_TOKENS if tokenizer.token_to_id(ALBERT_TOKENS["pad_token"]) is None else ALBERT_TOKENS


def tokenizer_length(folder: Path) -> int | None:
    """``model_max_length`` of ``tokenizer_config.json``, unless it is the "never set" of transformers."""
    length = read_object(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(length, (int, float)) and not isinstance(length, bool) and 0 < length < _UNSET_LENGTH:
        return int(length)
    return None


def _configured(text: str, settings: dict[str, Any], kind: str | None) -> str:
    """``tokenizer.json`` with what the class named ``kind`` sets itself, whatever the file says."""
    content = json.loads(text)
    normalizer, splitter = content.get("normalizer") or {}, content.get("pre_tokenizer") or {}
    if kind in _WORDPIECE and normalizer.get("type") == "BertNormalizer":
        for key, (target, default) in _NORMALIZER_KEYS.items():
            normalizer[target] = settings.get(key, default)
    if kind == _ALBERT and content["model"]["type"] == "Unigram":
        content["normalizer"] = _albert_normalizer(settings, normalizer)
    if kind == _ROBERTA and splitter.get("type") == "ByteLevel":
        splitter["add_prefix_space"] = settings.get("add_prefix_space", False)
    content["truncation"] = content["padding"] = None  # the runtime sets its own
    return json.dumps(content, ensure_ascii=False)


def _albert_normalizer(settings: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What AlbertTokenizer makes of its settings; of the file's ``own`` it keeps a precompiled table only."""
    steps = [{"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in ("``", "''")]
    if not settings.get("keep_accents", False):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if settings.get("do_lower_case", True):
        steps.append({"type": "Lowercase"})
    found = own["normalizers"] if own.get("type") == "Sequence" else [own]
    tables = [each for each in found if each.get("type") == "Precompiled"]
    return {"type": "Sequence", "normalizers": [*steps, *tables[:1]]}
