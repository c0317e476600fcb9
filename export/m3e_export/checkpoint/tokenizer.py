"""Loading the checkpoint's tokenizer with the settings that transformers applies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from m3e_export.checkpoint import vocabulary
from m3e_export.checkpoint.jsonfile import read_object, refuse_pointer
from m3e_export.checkpoint.special_tokens import (
    ALBERT_TOKENS,
    BERT_TOKENS,
    MPNET_TOKENS,
    ROBERTA_TOKENS,
    add_missing,
    read_special_tokens,
)
from m3e_export.checkpoint.tokenizer_class import (
    ALBERT,
    BERT,
    CAMEMBERT,
    MPNET,
    ROBERTA,
    XLM_ROBERTA,
    check_settings,
    rebuilt,
)
from m3e_export.errors import CheckpointError, DependencyMissingError, UnsupportedModelError

__all__ = [
    "gives_token_types",
    "has_tokenizer",
    "load_tokenizer",
    "only_bert_vocabulary",
    "special_token_names",
    "tokenizer_length",
]

_UNSET_LENGTH = 1_000_000  # transformers writes 1e30 if there is no maximum

_ALIKE = {"DistilBertTokenizer": BERT, "ErnieTokenizer": BERT, "BertTokenizerLegacy": BERT}
_TYPED = (BERT, "ErnieTokenizer")
# Classes that use tokenizer.json unchanged.
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")
_FILES = {
    ALBERT: ("spiece.model",),
    BERT: ("vocab.txt",),
    MPNET: ("vocab.txt",),
    ROBERTA: ("vocab.json", "merges.txt"),
    XLM_ROBERTA: ("sentencepiece.bpe.model",),
    CAMEMBERT: ("sentencepiece.bpe.model",),
}
_WORDPIECE = {BERT: BERT_TOKENS, MPNET: MPNET_TOKENS}
_DEFAULTS = {
    **_WORDPIECE,
    ALBERT: ALBERT_TOKENS,
    **dict.fromkeys((ROBERTA, XLM_ROBERTA, CAMEMBERT), ROBERTA_TOKENS),
}
_OF_MODEL = {
    "albert": ALBERT,
    "mpnet": MPNET,
    "roberta": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": CAMEMBERT,
}


def has_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` contains the files of a tokenizer."""
    names = {"tokenizer.json", *(name for files in _FILES.values() for name in files)}
    return any((folder / name).is_file() for name in names)


def load_tokenizer(folder: Path, model_type: str = "bert", lower_case: bool = False) -> Tokenizer:
    """Load ``tokenizer.json``, or build the tokenizer from the vocabulary files of its class.

    Args:
        folder: the folder of the files.
        model_type: the model's family, which decides the class if tokenizer_config.json does not.
        lower_case: lower-case texts first, as ``do_lower_case`` in sentence_bert_config.json does. Special
            tokens in a text do not change.

    Raises:
        CheckpointError: a file is missing or unreadable.
        DependencyMissingError: the packages that convert a SentencePiece model are not installed.
        UnsupportedModelError: there is no tokenizer.json, and the class is not supported.
    """
    settings = read_object(folder / "tokenizer_config.json")
    try:
        tokenizer = _load(folder, settings, model_type)
    except (CheckpointError, DependencyMissingError):
        raise
    except Exception as error:  # the libraries raise bare Exceptions
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error}).") from error
    if lower_case:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return tokenizer


def _load(folder: Path, settings: dict[str, Any], model_type: str) -> Tokenizer:
    named, kind = _class(settings), _kind(settings, model_type)
    kind = BERT if only_bert_vocabulary(folder, model_type) else kind
    file = folder / "tokenizer.json"
    if file.is_file():
        refuse_pointer(file)
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        check_settings(folder / "tokenizer_config.json", settings, content.get("truncation"))
        if named not in _GENERIC:
            special = read_special_tokens(folder, settings, _DEFAULTS.get(kind, BERT_TOKENS))
            content = rebuilt(content, kind, settings, special)
        content["truncation"] = content["padding"] = None  # the runtime sets its own
        tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
        if named not in _GENERIC:
            add_missing(tokenizer, special)
        return tokenizer
    check_settings(folder / "tokenizer_config.json", settings, None)
    if kind not in _FILES:
        raise UnsupportedModelError(
            f"{folder}: no tokenizer.json, and {kind} cannot be built from its vocabulary; "
            f"supported: {', '.join(_FILES)}."
        )
    files = _FILES[kind]
    if not all((folder / name).is_file() for name in files):
        raise CheckpointError(f"{folder}: no tokenizer.json or {' and '.join(files)}.")
    for name in files:
        refuse_pointer(folder / name)
    if kind in _WORDPIECE:
        return vocabulary.wordpiece(folder, settings, _WORDPIECE[kind])
    if kind == ROBERTA:
        return vocabulary.byte_level_bpe(folder, settings)
    return vocabulary.unigram(folder, files[0], kind)


def only_bert_vocabulary(folder: Path, model_type: str) -> bool:
    """Whether ``folder`` has the files of a Chinese ALBERT, which uses BERT's vocabulary without saying so.

    transformers then creates an AlbertTokenizer without a vocabulary.
    """
    if model_type != "albert" or _class(read_object(folder / "tokenizer_config.json")) is not None:
        return False
    others = ("tokenizer.json", *_FILES[ALBERT])
    return (folder / "vocab.txt").is_file() and not any((folder / name).is_file() for name in others)


def gives_token_types(folder: Path, model_type: str) -> bool:
    """Whether the tokenizer gives the model a type for each token of a pair, as that of transformers 5 does.

    ``model_input_names`` says it, else the class: only BERT's does. Without types, all are 0.
    """
    settings = read_object(folder / "tokenizer_config.json")
    names = settings.get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names
    if only_bert_vocabulary(folder, model_type):
        return True
    named = str(settings.get("tokenizer_class", "")).removesuffix("Fast")
    if named:
        return named in _TYPED
    return _OF_MODEL.get(model_type, BERT) == BERT


def _class(settings: dict[str, Any]) -> str | None:
    """The tokenizer's class without the suffix Fast. Equivalent classes have one name."""
    name = settings.get("tokenizer_class")
    if not isinstance(name, str):
        return None
    name = name.removesuffix("Fast")
    return _ALIKE.get(name, name)


def _kind(settings: dict[str, Any], model_type: str) -> str:
    """The class, or that of the model's family if the settings name none or a generic one."""
    named = _class(settings)
    return _OF_MODEL.get(model_type, BERT) if named in (None, *_GENERIC) else str(named)


def special_token_names(folder: Path, tokenizer: Tokenizer, model_type: str = "bert") -> dict[str, str]:
    """The special tokens of ``tokenizer`` by role, such as ``cls_token``."""
    settings = read_object(folder / "tokenizer_config.json")
    named = read_special_tokens(folder, settings, _default_tokens(tokenizer, _kind(settings, model_type)))
    return {
        part: token.content
        for part, token in sorted(named.items())
        if tokenizer.token_to_id(token.content) is not None
    }


def _default_tokens(tokenizer: Tokenizer, kind: str) -> dict[str, str]:
    if kind == MPNET:
        return MPNET_TOKENS
    if tokenizer.token_to_id(BERT_TOKENS["cls_token"]) is None:
        return ROBERTA_TOKENS
    return BERT_TOKENS if tokenizer.token_to_id(ALBERT_TOKENS["pad_token"]) is None else ALBERT_TOKENS


def tokenizer_length(folder: Path) -> int | None:
    """``model_max_length`` of ``tokenizer_config.json``, or None if it is not set."""
    length = read_object(folder / "tokenizer_config.json").get("model_max_length")
    if isinstance(length, (int, float)) and not isinstance(length, bool) and 0 < length < _UNSET_LENGTH:
        return int(length)
    return None
