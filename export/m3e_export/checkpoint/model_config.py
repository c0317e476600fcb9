"""The settings of a whole model of sentence-transformers: ``config_sentence_transformers.json``."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, get_args

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_runtime.manifest import SIMILARITIES, Similarity

__all__ = [
    "MODEL_CONFIG",
    "MODEL_TYPES",
    "read_default_prompt",
    "read_model_config",
    "read_prompts",
    "read_similarity",
]

MODEL_TYPES = ("SentenceTransformer", "CrossEncoder", "MultiVectorEncoder", "ColBERT", "SparseEncoder")
"""The kinds of models that are supported. The first is the default; ColBERT is a MultiVectorEncoder that
PyLate has saved."""

MODEL_CONFIG = "config_sentence_transformers.json"
"""The file of the settings."""


def read_model_config(folder: Path) -> dict[str, Any]:
    """The settings in the model's ``folder``; empty if there are none.

    Raises:
        CheckpointError: the file is broken, or a setting is not valid.
        UnsupportedModelError: the kind of model is not supported; the message names it.
    """
    file = folder / MODEL_CONFIG
    config = read_object(file)
    kind = config.get("model_type", MODEL_TYPES[0])
    if kind not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        raise UnsupportedModelError(f"{file}: model_type {kind!r} is not supported; known: {known}.")
    kept = config.get("truncate_dim")
    if kept is not None and (type(kept) is not int or kept < 1):
        raise CheckpointError(f"{file}: truncate_dim {kept!r} must be a number of dimensions or null.")
    return config


def read_prompts(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The prompts by name; ``config`` is from :func:`read_model_config`.

    Raises:
        CheckpointError: they are not texts, or the default prompt is not among them.
    """
    prompts = config.get("prompts") or {}
    if isinstance(prompts, dict):  # sentence-transformers writes null for a prompt that is not set
        prompts = {prompt: "" if text is None else text for prompt, text in prompts.items()}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{folder / MODEL_CONFIG}: prompts must map names to texts.")
    read_default_prompt(folder, config, prompts)
    return dict(sorted(prompts.items()))


def read_default_prompt(folder: Path, config: Mapping[str, Any], prompts: Container[str]) -> str | None:
    """The name of the default prompt.

    Raises:
        CheckpointError: it is not among ``prompts``.
    """
    name = config.get("default_prompt_name")
    if name is not None and (not isinstance(name, str) or name not in prompts):
        raise CheckpointError(f"{folder / MODEL_CONFIG}: default_prompt_name {name!r} is not in prompts.")
    return name


def read_similarity(folder: Path, config: dict[str, Any]) -> Similarity:
    """How vectors are compared; ``config`` is from :func:`read_model_config`.

    Raises:
        UnsupportedModelError: the similarity is not supported; the message names it.
    """
    name = config.get("similarity_fn_name") or "cosine"
    known: Similarity | None = next((each for each in get_args(Similarity) if each == name), None)
    if known is None:
        raise UnsupportedModelError(
            f"{folder / MODEL_CONFIG}: similarity_fn_name {name!r} is not supported; "
            f"known: {', '.join(SIMILARITIES)}."
        )
    return known
