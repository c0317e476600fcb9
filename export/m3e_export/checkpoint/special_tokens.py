"""The special tokens of a tokenizer and their roles, read as transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.errors import CheckpointError

__all__ = [
    "ALBERT_TOKENS",
    "BERT_TOKENS",
    "MPNET_TOKENS",
    "ROBERTA_TOKENS",
    "SpecialTokens",
    "add_missing",
    "add_tokens",
    "read_special_tokens",
]

SpecialTokens = dict[str, AddedToken]
"""Tokens by role: ``cls_token``, ``sep_token``, ``pad_token``, ``unk_token``, ``mask_token`` …"""

BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
"""The defaults of BertTokenizer."""

ALBERT_TOKENS = {
    **BERT_TOKENS,
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
"""The defaults of AlbertTokenizer."""

ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
"""The defaults of RobertaTokenizer, XLMRobertaTokenizer and CamembertTokenizer."""

MPNET_TOKENS = {**ROBERTA_TOKENS, "unk_token": "[UNK]"}
"""The defaults of MPNetTokenizer. Its vocabulary also has BERT's tokens."""


def read_special_tokens(folder: Path, settings: dict[str, Any], defaults: dict[str, str]) -> SpecialTokens:
    """The special tokens by role.

    Args:
        folder: the folder of special_tokens_map.json, which is only read if ``settings`` has no
            ``added_tokens_decoder``.
        settings: the content of tokenizer_config.json.
        defaults: the defaults of the tokenizer's class.

    Raises:
        CheckpointError: a file is not a JSON object, or the description of a token is not valid.
    """
    said: dict[str, Any] = {**defaults, **{key: settings[key] for key in ROBERTA_TOKENS if key in settings}}
    if "added_tokens_decoder" not in settings:
        legacy = read_object(folder / "special_tokens_map.json")
        said |= {key: legacy[key] for key in ROBERTA_TOKENS if key in legacy}
    described = {token.content: token for token in _described(settings)}
    tokens = {key: _token(value) for key, value in said.items() if value is not None}
    return {key: described.get(token.content, token) for key, token in tokens.items()}


def add_tokens(tokenizer: Tokenizer, folder: Path, settings: dict[str, Any], named: SpecialTokens) -> None:
    """Add the checkpoint's special tokens and the tokens that a trainer added to ``tokenizer``.

    Added tokens get the ids after the vocabulary, in their order. Special tokens outside the vocabulary are
    ignored: the model has no embeddings for them.
    """
    tokenizer.add_tokens([*_described(settings), *_legacy(folder, settings, named)])
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    further = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    listed = [_token(value) for value in further] if isinstance(further, list) else []
    tokenizer.add_special_tokens(
        [token for token in [*named.values(), *listed] if token.content in vocabulary]
    )


def add_missing(tokenizer: Tokenizer, named: SpecialTokens) -> None:
    """Add those of ``named`` to ``tokenizer`` that are in its vocabulary but are not added tokens."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    missing = [token for token in named.values() if token.content in vocabulary.keys() - known]
    tokenizer.add_special_tokens(missing)


def _described(settings: dict[str, Any]) -> list[AddedToken]:
    """The tokens of ``added_tokens_decoder``, which is complete since transformers 4.34."""
    found = settings.get("added_tokens_decoder") or {}
    try:
        return [AddedToken(**found[key]) for key in sorted(found, key=int)]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"tokenizer_config.json: added_tokens_decoder is broken ({error}).") from error


def _legacy(folder: Path, settings: dict[str, Any], named: SpecialTokens) -> list[AddedToken]:
    """The tokens of ``added_tokens.json``, which older versions wrote."""
    if "added_tokens_decoder" in settings:
        return []
    found = read_object(folder / "added_tokens.json")
    if not all(isinstance(number, int) for number in found.values()):
        raise CheckpointError(f"{folder / 'added_tokens.json'}: must map tokens to ids.")
    special = {token.content for token in named.values()}
    return [
        AddedToken(text, normalized=text not in special, special=text in special)
        for text in sorted(found, key=found.__getitem__)
    ]


def _token(value: Any) -> AddedToken:
    content = value.get("content") if isinstance(value, dict) else value
    if not isinstance(content, str):
        raise CheckpointError(f"{value!r} is not a special token.")
    flags = value if isinstance(value, dict) else {}
    known = ("single_word", "lstrip", "rstrip", "normalized")
    return AddedToken(content, special=True, **{key: bool(flags[key]) for key in known if key in flags})
