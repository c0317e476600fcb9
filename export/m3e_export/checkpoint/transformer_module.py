"""The settings of sentence-transformers' Transformer module. Each is applied or rejected by name.

sentence-transformers 6.2 reads them in ``base/modules/transformer.py``, ``load_config`` and
``_load_init_kwargs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["SHORTEST", "Task", "TransformerSettings", "read_transformer_settings"]

SHORTEST = 3
"""The smallest maximum length, in tokens: ``[CLS]``, one token of the text, ``[SEP]``."""

# The first one that exists and is not empty is used.
_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_OLD_NAMES = {
    "tokenizer_args": "processor_kwargs",
    "config_args": "config_kwargs",
    "model_args": "model_kwargs",
}

Task = Literal["feature-extraction", "sequence-classification", "fill-mask"]
"""What a Transformer module computes: the states of the tokens, a CrossEncoder's logits, or logits of the
vocabulary."""

_OUTPUTS: dict[Task, tuple[str, str]] = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "fill-mask": ("logits", "token_embeddings"),
}
# Settings of MultiVectorEncoders, which encode queries and documents differently.
_LATE_INTERACTION = ("query_length", "document_length", "query_expansion")
# The supported values of each setting but those of :func:`_allowed`. Others would change vectors.
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "processing_kwargs": ({}, None),
    "config_kwargs": ({}, None),
    **dict.fromkeys(_LATE_INTERACTION, (None,)),
    "tokenizer_name_or_path": (None,),
}
_HONOURED = ("max_seq_length", "do_lower_case", "processor_kwargs", "model_kwargs")
_WITHOUT_EFFECT = ("unpad_inputs",)  # computes the same in another way

# How the original computes, and in which precision. They do not apply to the exported model.
_MODEL_KWARGS = ("attn_implementation", "torch_dtype", "dtype", "low_cpu_mem_usage", "use_safetensors")


@dataclass(frozen=True)
class TransformerSettings:
    """The longest input in tokens, or None, and whether texts are lower-cased first.

    ``late_interaction`` has those settings of a MultiVectorEncoder that are there, unchecked.
    """

    max_seq_length: int | None = None
    lower_case: bool = False
    late_interaction: Mapping[str, Any] = field(default_factory=dict)


def read_transformer_settings(
    folder: Path,
    task: Task = "feature-extraction",
    late_interaction: bool = False,
    unnamed: Task = "feature-extraction",
) -> TransformerSettings:
    """Read the settings of the Transformer module in ``folder``, which must have the task ``task``.

    ``late_interaction`` says whether it may encode queries and documents differently, ``unnamed`` which task
    a module has whose settings name none.

    Raises:
        CheckpointError: a file is broken, or the length is not valid.
        UnsupportedModelError: a setting would change vectors and is not supported; the message names it.
    """
    file, config = _config(folder)
    config = {_OLD_NAMES.get(key, key): value for key, value in config.items()}
    found = config.get("transformer_task", unnamed)
    if found != task:
        raise UnsupportedModelError(
            f"{file}: transformer_task {found!r} does not belong to the model_type of "
            f"config_sentence_transformers.json, whose Transformer has {task!r}."
        )
    special = {key: config.pop(key) for key in _LATE_INTERACTION if late_interaction and key in config}
    for key, value in config.items():
        _check(file, key, value, _allowed(task))
    processor = _settings_of(file, config, "processor_kwargs", ("model_max_length",))
    _settings_of(file, config, "model_kwargs", _MODEL_KWARGS)
    length = processor.get("model_max_length", config.get("max_seq_length"))
    lower_case = config.get("do_lower_case", False)
    if not isinstance(lower_case, bool):
        raise CheckpointError(f"{file}: do_lower_case {lower_case!r} is neither true nor false.")
    return TransformerSettings(_length(file, length), lower_case, special)


def _config(folder: Path) -> tuple[Path, dict[str, Any]]:
    for name in _FILES:
        config = read_object(folder / name)
        if config:
            return folder / name, config
    return folder / _FILES[0], {}


def _allowed(task: Task) -> dict[str, tuple[Any, ...]]:
    """The supported values of each setting."""
    output, name = _OUTPUTS[task]
    text = {"text": {"method": "forward", "method_output_name": output}}
    return {
        **_ALLOWED,
        "transformer_task": (task,),
        "modality_config": (text,),
        "module_output_name": (name,),
    }


def _check(file: Path, key: str, value: object, supported: Mapping[str, tuple[Any, ...]]) -> None:
    if key in _HONOURED or key in _WITHOUT_EFFECT:
        return
    if key not in supported:
        raise UnsupportedModelError(f"{file}: the setting {key!r} is not supported.")
    if value not in supported[key]:
        allowed = json.dumps(supported[key][0])
        raise UnsupportedModelError(
            f"{file}: {key} {json.dumps(value)} is not supported; remove it, or set it to {allowed}."
        )


def _settings_of(file: Path, config: Mapping[str, Any], key: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The dictionary ``config[key]``, whose keys must be in ``known``."""
    settings = config.get(key) or {}
    if not isinstance(settings, dict):
        raise CheckpointError(f"{file}: {key} must map names to values.")
    settings.pop("trust_remote_code", None)  # ignored, as in sentence-transformers
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise UnsupportedModelError(f"{file}: {key} {', '.join(unknown)} is not supported.")
    return settings


def _length(file: Path, length: object) -> int | None:
    if length is None or (isinstance(length, int) and not isinstance(length, bool) and length >= SHORTEST):
        return length
    raise CheckpointError(f"{file}: max_seq_length {length!r} is not an integer of at least {SHORTEST}.")
