"""The settings of a MultiVectorEncoder: a late-interaction model (ColBERT) of sentence-transformers.

Its folder has the modules Transformer, Dense, MultiVectorMask and Normalize. PyLate 1 writes Transformer and
Dense, and the rest as settings of the whole model; sentence-transformers reads it as the former. Sources:
``MultiVectorEncoder._parse_model_config``, ``_apply_legacy_fixups`` and ``_register_prefix_tokens`` in
``sentence_transformers/multi_vector_encoder/model.py``, and ``Transformer.preprocess`` in
``sentence_transformers/base/modules/transformer.py``, version 6.2.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.model_config import MODEL_CONFIG, MODEL_TYPES
from m3e_export.checkpoint.module_entry import ModuleEntry
from m3e_export.checkpoint.transformer_module import TransformerSettings
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_runtime.late_interaction import TASKS, Task

__all__ = [
    "ALIASES",
    "Expansion",
    "MultiVectorConfig",
    "has_multi_vectors",
    "read_multi_vector_config",
    "register_prefixes",
    "with_prefixes",
]

ALIASES = {"pylate.models.Dense.Dense": "sentence_transformers.base.modules.dense.Dense"}
"""Modules of PyLate that sentence-transformers loads as its own."""

_MODULES = re.compile(r"Transformer( Dense)*( Normalize)?( MultiVectorMask)( Normalize)?")
_PYLATE_MODULES = re.compile(r"Transformer( Dense)*( Normalize)?")
_PREFIXES: dict[str, Task] = {"query_prefix": "query", "document_prefix": "document"}
_LENGTHS = ("query_length", "document_length")
_PYLATE_KEYS = (
    *(*_LENGTHS, "query_expansion", "do_query_expansion", "attend_to_expansion_tokens"),
    *("attend_to_mask_tokens", *_PREFIXES, "skiplist_words"),
)
_EXPANSION_KEYS = ("strategy", "attend", "token", "length")
_PYLATE_LENGTH = 32


@dataclass(frozen=True)
class Expansion:
    """Tokens behind queries up to ``length`` tokens in all; ``token`` None is ``[MASK]``.

    ``cuts`` says whether longer queries are cut to it, ``attended`` whether tokens attend to the expansion.
    """

    length: int
    attended: bool
    cuts: bool
    token: str | None


@dataclass(frozen=True)
class MultiVectorConfig:
    """How a MultiVectorEncoder makes multi-vectors of the states of tokens.

    ``dense`` are the folders of the Dense modules, ``skipped`` the words whose tokens get no vector in texts
    of the tasks ``skipped_in``, ``prefixes`` the prompts of PyLate whose first token is one of its own.
    """

    dense: tuple[Path, ...]
    unit_length: bool
    query_length: int | None
    document_length: int | None
    expansion: Expansion | None
    skipped: tuple[str, ...]
    skipped_in: tuple[Task, ...]
    prefixes: tuple[str, ...]


def has_multi_vectors(config: Mapping[str, Any]) -> bool:
    """Whether ``config`` of :func:`read_model_config` is that of a MultiVectorEncoder."""
    return config.get("model_type") in MODEL_TYPES[2:4]


def read_multi_vector_config(
    folder: Path, top: Mapping[str, Any], modules: Sequence[ModuleEntry], settings: TransformerSettings
) -> MultiVectorConfig:
    """Read the modules and settings of the MultiVectorEncoder in ``folder``.

    Args:
        folder: the checkpoint's folder.
        top: the settings of the whole model.
        modules: kinds and folders in order.
        settings: of its Transformer module.

    Raises:
        CheckpointError: a file is broken, or a setting is not valid.
        UnsupportedModelError: a module or setting is not supported; the message names it.
    """
    pylate = top.get("model_type") == MODEL_TYPES[3]
    kinds = [kind for kind, _ in modules]
    if not (_PYLATE_MODULES if pylate else _MODULES).fullmatch(" ".join(kinds)):
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: the modules {' → '.join(kinds) or '(none)'} of a MultiVectorEncoder "
            "are not supported; a Transformer, any Dense, MultiVectorMask and Normalize are."
        )
    file = folder / MODEL_CONFIG
    # What the module itself says comes first.
    found = {**_of_pylate(top), **settings.late_interaction}
    lengths = {key: _length(file, key, found.get(key)) for key in _LENGTHS}
    words, tasks = _skipped(top, modules, pylate)
    return MultiVectorConfig(
        dense=tuple(where for kind, where in modules if kind == "Dense"),
        unit_length=pylate or any(map(_is_token_normalize, modules)),
        query_length=lengths["query_length"],
        document_length=lengths["document_length"],
        expansion=_expansion(file, found.get("query_expansion"), lengths["query_length"]),
        skipped=words,
        skipped_in=tasks,
        prefixes=tuple(_text(file, top, key) for key in _PREFIXES if key in top),
    )


def with_prefixes(folder: Path, top: Mapping[str, Any], prompts: Mapping[str, str]) -> dict[str, str]:
    """``prompts`` with PyLate's prefixes before them. There always are ``query`` and ``document``."""
    found: dict[str, str] = {"query": "", "document": "", **prompts}
    for key, name in _PREFIXES.items():
        if key in top:
            prefix = _text(folder / MODEL_CONFIG, top, key)
            found[name] = prefix + found[name].removeprefix(prefix)
    return dict(sorted(found.items()))


def register_prefixes(tokenizer: Tokenizer, prefixes: Sequence[str]) -> None:
    """Make each prefix, or its first word, one token, if it is in the vocabulary and texts do not give it."""
    known = [token for each in prefixes if (token := _known(tokenizer, each)) is not None]
    split = [each for each in known if tokenizer.encode(each, add_special_tokens=False).tokens != [each]]
    if split:
        tokenizer.add_special_tokens([AddedToken(each, normalized=False, special=True) for each in split])


def _known(tokenizer: Tokenizer, prefix: str) -> str | None:
    candidates = (prefix, prefix.split(None, 1)[0]) if prefix.split() else ()
    return next((each for each in candidates if tokenizer.token_to_id(each) is not None), None)


def _of_pylate(top: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the Transformer that a folder of PyLate has as settings of the whole model."""
    found = {key: top[key] for key in _LENGTHS if top.get(key) is not None}
    if "query_expansion" in top:
        return {**found, "query_expansion": top["query_expansion"]}
    if not any(key in top for key in _PYLATE_KEYS):
        return found
    if top.get("do_query_expansion") is False:
        return {**found, "query_expansion": None}
    attend = top.get("attend_to_expansion_tokens", top.get("attend_to_mask_tokens"))
    length = found.pop("query_length", None) or _PYLATE_LENGTH
    return {**found, "query_expansion": {"strategy": "fixed", "attend": bool(attend), "length": length}}


def _expansion(file: Path, given: Any, query_length: int | None) -> Expansion | None:
    if given is None:
        return None
    known = isinstance(given, dict) and set(given) <= set(_EXPANSION_KEYS)
    if not known or given.get("strategy") not in ("fixed", "min"):
        raise UnsupportedModelError(f"{file}: query_expansion {given!r} is not supported.")
    length = _length(file, "query_expansion.length", given.get("length"))
    attended, token = given.get("attend", False), given.get("token")
    if length is None or not isinstance(attended, bool) or not isinstance(token, str | None):
        raise CheckpointError(f"{file}: query_expansion {given!r} is not valid.")
    if query_length is not None and query_length < length:
        raise CheckpointError(
            f"{file}: query_length {query_length} is below the length {length} of the query expansion."
        )
    return Expansion(length, attended, given["strategy"] == "fixed", token)


def _length(file: Path, key: str, value: object) -> int | None:
    if value is None or (type(value) is int and value > 0):
        return value
    raise CheckpointError(f"{file}: {key} {value!r} is not a number of tokens.")


def _text(file: Path, top: Mapping[str, Any], key: str) -> str:
    value = top[key]
    if not isinstance(value, str | None):
        raise CheckpointError(f"{file}: {key} {value!r} is not a text.")
    return value or ""


def _skipped(
    top: Mapping[str, Any], modules: Sequence[ModuleEntry], pylate: bool
) -> tuple[tuple[str, ...], tuple[Task, ...]]:
    """The words whose tokens get no vector, and the tasks in which they do not."""
    if pylate:
        words = top.get("skiplist_words")
        return _words(Path(MODEL_CONFIG), list(string.punctuation) if words is None else words), ("document",)
    file = dict(modules)["MultiVectorMask"] / "config.json"
    config = read_object(file)
    if config.get("keep_only_token_ids"):
        raise UnsupportedModelError(f"{file}: keep_only_token_ids is not supported; remove it.")
    named = config.get("skiplist_tasks")
    tasks = ["document"] if named is None else [named] if isinstance(named, str) else named
    if not isinstance(tasks, list):
        raise CheckpointError(f"{file}: skiplist_tasks {named!r} is not a list of tasks.")
    return _words(file, config.get("skiplist_words") or []), tuple(task for task in TASKS if task in tasks)


def _words(file: Path, words: Any) -> tuple[str, ...]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CheckpointError(f"{file}: skiplist_words {words!r} is not a list of words.")
    return tuple(words)


def _is_token_normalize(module: ModuleEntry) -> bool:
    """Whether it scales vectors of tokens; a Normalize of sentence vectors has no effect here."""
    kind, folder = module
    if kind != "Normalize":
        return False
    config = read_object(folder / "config.json")
    given = config.get("module_input_name", "sentence_embedding")
    if config.get("module_output_name") not in (None, given):
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: module_output_name {config['module_output_name']!r} is not supported."
        )
    return bool(given == "token_embeddings")
