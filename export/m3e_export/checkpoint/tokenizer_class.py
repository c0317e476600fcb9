"""The parts of a tokenizer that transformers' classes build themselves instead of reading tokenizer.json.

Since version 5, a class reads the vocabulary and the added tokens from the file, and builds the rest from its
code and tokenizer_config.json: see ``models/*/tokenization_*.py`` of transformers 5. A generic class uses the
file unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.special_tokens import SpecialTokens
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["ALBERT", "BERT", "CAMEMBERT", "MPNET", "ROBERTA", "XLM_ROBERTA", "check_settings", "rebuilt"]

logger = logging.getLogger(__name__)

ALBERT, BERT, MPNET, ROBERTA = "AlbertTokenizer", "BertTokenizer", "MPNetTokenizer", "RobertaTokenizer"
XLM_ROBERTA, CAMEMBERT = "XLMRobertaTokenizer", "CamembertTokenizer"

Content = dict[str, Any]
Settings = Mapping[str, Any]

_SPACE = "▁"  # SentencePiece's mark at the beginning of a word


def check_settings(file: Path, settings: Settings, truncation: Any) -> None:
    """Check that all settings of tokenizer_config.json are supported.

    Args:
        file: its path, for the message.
        settings: its content.
        truncation: the key ``truncation`` of tokenizer.json.

    Raises:
        UnsupportedModelError: a setting is not supported; the message names it.
    """
    side = settings.get("truncation_side") or (truncation or {}).get("direction", "right")
    if str(side).lower() != "right":
        raise UnsupportedModelError(f"{file}: truncation_side {side!r} is not supported; 'right' is.")
    if settings.get("split_special_tokens"):
        raise UnsupportedModelError(f"{file}: split_special_tokens is not supported.")


def rebuilt(content: Content, kind: str, settings: Settings, named: SpecialTokens) -> Content:
    """The content of tokenizer.json as the class ``kind`` builds it; unchanged for an unknown class.

    Args:
        content: the content of tokenizer.json.
        kind: the class.
        settings: the content of tokenizer_config.json.
        named: the special tokens by role.

    Raises:
        CheckpointError: the vocabulary lacks a special token.
    """
    expected, build = _BUILD.get(kind, ("", _as_it_is))
    if content["model"].get("type") != expected:
        return content
    made = {**content, **build(content, settings, named)}
    for part in ("normalizer", "pre_tokenizer"):
        if _kinds(content.get(part)) != _kinds(made.get(part)):
            logger.warning(
                "tokenizer.json: the %s (%s) is not used, because a %s of transformers has %s.",
                part, _words(content.get(part)), kind, _words(made.get(part)),
            )  # fmt: skip
    return made


def _as_it_is(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    return {}


def _wordpiece(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": settings.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            **content["model"],
            "unk_token": named["unk_token"].content,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
    }


def _bert(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    around = _template(content, named, "cls_token", "sep_token")
    return {**_wordpiece(content, settings, named), "post_processor": around}


def _mpnet(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    around = _roberta_processing(content, named, trim_offsets=True, add_prefix_space=False)
    return {**_wordpiece(content, settings, named), "post_processor": around}


def _roberta(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    prefix, trim = settings.get("add_prefix_space", False), settings.get("trim_offsets", True)
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": _roberta_processing(content, named, trim, prefix),
    }


def _xlm_roberta(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    tables = _precompiled(content)
    return {
        "normalizer": tables[0] if tables else None,
        "pre_tokenizer": _words_of_sentencepiece(settings),
        "post_processor": _template(content, named, "bos_token", "eos_token", doubled=True),
    }


def _albert(content: Content, settings: Settings, named: SpecialTokens) -> Content:
    steps: list[Content] = [
        {"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in ("``", "''")
    ]
    if not settings.get("keep_accents", False):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if settings.get("do_lower_case", True):
        steps.append({"type": "Lowercase"})
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*steps, *_precompiled(content)]},
        "pre_tokenizer": _words_of_sentencepiece(settings),
        "post_processor": _template(content, named, "cls_token", "sep_token"),
    }


_BUILD: dict[str, tuple[str, Callable[[Content, Settings, SpecialTokens], Content]]] = {
    BERT: ("WordPiece", _bert),
    MPNET: ("WordPiece", _mpnet),
    ROBERTA: ("BPE", _roberta),
    XLM_ROBERTA: ("Unigram", _xlm_roberta),
    CAMEMBERT: ("Unigram", _xlm_roberta),
    ALBERT: ("Unigram", _albert),
}


def _words_of_sentencepiece(settings: Settings) -> Content:
    scheme = "always" if settings.get("add_prefix_space", True) else "never"
    mark = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": True}
    return {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, mark]}


def _precompiled(content: Content) -> list[Content]:
    """The first table of characters in the file, if there is one."""
    return [step for step in _steps(content.get("normalizer")) if step.get("type") == "Precompiled"][:1]


def _template(
    content: Content, named: SpecialTokens, first: str, last: str, doubled: bool = False
) -> Content:
    """The special tokens around one text and around two. ``doubled``: two end tokens separate them."""
    start, end = named[first].content, named[last].content
    before, after = ({"SpecialToken": {"id": token, "type_id": 0}} for token in (start, end))
    second = 0 if doubled else 1
    texts = [{"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", second))]
    behind = {"SpecialToken": {"id": end, "type_id": second}}
    return {
        "type": "TemplateProcessing",
        "single": [before, texts[0], after],
        "pair": [before, texts[0], after, *([after] if doubled else []), texts[1], behind],
        "special_tokens": {
            token: {"id": token, "ids": [_id(content, token)], "tokens": [token]} for token in (start, end)
        },
    }


def _roberta_processing(
    content: Content, named: SpecialTokens, trim_offsets: bool, add_prefix_space: bool
) -> Content:
    start, end = named["cls_token"].content, named["sep_token"].content
    return {
        "type": "RobertaProcessing",
        "sep": [end, _id(content, end)],
        "cls": [start, _id(content, start)],
        "trim_offsets": trim_offsets,
        "add_prefix_space": add_prefix_space,
    }


def _id(content: Content, token: str) -> int:
    vocabulary = content["model"]["vocab"]
    pieces = (
        vocabulary if isinstance(vocabulary, dict) else {piece[0]: i for i, piece in enumerate(vocabulary)}
    )
    added = {each["content"]: each["id"] for each in content.get("added_tokens") or ()}
    found = added.get(token, pieces.get(token))
    if found is None:
        raise CheckpointError(f"the special token {token!r} is not in the vocabulary.")
    return int(found)


def _steps(component: Any) -> list[Content]:
    if not component:
        return []
    if component.get("type") != "Sequence":
        return [component]
    members = component["pretokenizers" if "pretokenizers" in component else "normalizers"]
    return [step for member in members for step in _steps(member)]


def _kinds(component: Any) -> list[str]:
    return [str(step.get("type")) for step in _steps(component)]


def _words(component: Any) -> str:
    return ", ".join(_kinds(component)) or "none"
