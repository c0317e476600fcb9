"""What the files around the weights say: pooling, normalization, lengths, prompts.

Three layouts are read:

* sentence-transformers: ``modules.json`` lists Transformer, Pooling, and optionally Dense and Normalize;
* uniem (m3e-large and every fine-tune): ``uniem_pooling_strategy`` in ``config.json``;
* plain Hugging Face: nothing says the pooling, so it is mean, with a warning, as sentence-transformers does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m3e_export.checkpoint.jsonfile import read_json, read_object
from m3e_export.checkpoint.pooling import UNIEM_POOLINGS, pooling_spec, read_include_prompt, read_pooling
from m3e_export.checkpoint.refused import refuse_adapter, refuse_folder_above
from m3e_export.checkpoint.transformer_module import SHORTEST, read_transformer_settings
from m3e_export.errors import CheckpointError, UnsupportedModelError, UntrustedCheckpointError

__all__ = ["SHORTEST", "Layout", "Pooling", "read_layout"]

logger = logging.getLogger(__name__)

Pooling = str
"""A name that :func:`m3e_export.checkpoint.pooling.pooling_spec` knows."""

_MODEL_TYPE = "SentenceTransformer"
_HEADS = (
    *("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"),
    *("ForMultipleChoice", "ForNextSentencePrediction"),
)
_OTHER_MODELS = ("cross_encoder", "sparse_encoder", "multi_vector_encoder")
_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
# uniem/model.py; the older key is read when the newer is absent.
_UNIEM_KEYS = ("uniem_pooling_strategy", "uniem_embedding_strategy")


@dataclass(frozen=True)
class Layout:
    """Everything but weights and architecture.

    ``transformer`` is the folder of config and weights, ``dense`` those of the Dense modules in order;
    ``include_prompt`` says whether the tokens of a prompt are pooled; ``pooling_given`` that the pooling is
    the user's choice, and not the checkpoint's.
    """

    kind: Literal["sentence-transformers", "uniem", "transformers"]
    transformer: Path
    pooling: Pooling
    normalize: bool
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: str = "cosine"
    dense: tuple[Path, ...] = ()
    include_prompt: bool = True
    pooling_given: bool = False


def read_layout(folder: Path, pooling: Pooling | None = None) -> Layout:
    """Read the layout of the checkpoint in ``folder``; ``pooling`` overrides what it says, with a warning.

    Raises:
        CheckpointError: a file is missing or broken.
        UnsupportedModelError: a module or pooling that is not known, named in the message.
        UntrustedCheckpointError: a module path that leads out of the folder.
    """
    pooling = None if pooling is None else pooling_spec(pooling).name
    refuse_folder_above(folder)
    refuse_adapter(folder)
    if (folder / "modules.json").exists():
        layout = _sentence_transformers(folder, pooling)
    else:
        layout = _plain(folder, pooling)
    refuse_adapter(layout.transformer)
    if pooling is not None and layout.kind != "transformers":
        logger.warning("Pooling %r given by hand; it overrides what the checkpoint says.", pooling)
    return layout


def _plain(folder: Path, override: Pooling | None) -> Layout:
    config = read_object(folder / "config.json", required=True)
    if override is None:
        _check_plain(folder, config)
    key = next((key for key in _UNIEM_KEYS if key in config), None)
    if key is None:
        if override is None:
            logger.warning("%s: nothing says how to pool; taking the mean. Set it with --pooling.", folder)
        given = override is not None
        return Layout("transformers", folder, override or "mean", normalize=False, pooling_given=given)
    found = str(config[key])
    if override is None and found not in UNIEM_POOLINGS:
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: {key} {config[key]!r} is not supported; "
            f"known: {', '.join(UNIEM_POOLINGS)}."
        )
    pooling = override or pooling_spec(found).name
    return Layout("uniem", folder, pooling, normalize=False, pooling_given=override is not None)


def _check_plain(folder: Path, config: dict[str, Any]) -> None:
    """Check that nothing but the pooling is missing of an embedding model."""
    named = config.get("architectures")
    heads = [name for name in named if str(name).endswith(_HEADS)] if isinstance(named, list) else []
    if heads:
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: {heads[0]} gives scores or labels, and no vectors of texts. If you "
            "want its encoder, say how to pool with --pooling."
        )
    left = [name for name in ("1_Pooling", "config_sentence_transformers.json") if (folder / name).exists()]
    if left:
        raise CheckpointError(
            f"{folder}: has {left[0]} and no modules.json, so that a part of the model may be missing; copy "
            "or download it again, or say how to pool with --pooling."
        )


def _top_config(folder: Path) -> dict[str, Any]:
    """The settings of the whole model; what is not named here, sentence-transformers does not read."""
    file = folder / "config_sentence_transformers.json"
    config = read_object(file)
    kind = config.get("model_type", _MODEL_TYPE)
    if kind != _MODEL_TYPE:
        raise UnsupportedModelError(f"{file}: model_type {kind!r} is not supported; {_MODEL_TYPE!r} is.")
    if config.get("truncate_dim") is not None:
        raise UnsupportedModelError(
            f"{file}: truncate_dim {config['truncate_dim']!r} is not supported; remove it, and give "
            "truncate_dim where texts are encoded."
        )
    return config


def _sentence_transformers(folder: Path, override: Pooling | None) -> Layout:
    top = _top_config(folder)
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    dense = tuple(path for kind, path in modules if kind == "Dense")
    if kinds not in _known_modules(len(dense)):
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: the modules {' → '.join(kinds) or '(none)'} are not supported; "
            "a Transformer, then Pooling, then optionally Dense and Normalize are."
        )
    transformer = modules[0][1]
    settings = read_transformer_settings(transformer)
    pooling_folder = dict(modules).get("Pooling")
    if override is None and pooling_folder is None:
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: there is no Pooling module, so that sentence-transformers gives no "
            "vectors of texts; say how to pool with --pooling."
        )
    pooling = override or read_pooling(pooling_folder or folder)
    include_prompt = pooling_folder is None or read_include_prompt(pooling_folder)
    return Layout(
        kind="sentence-transformers",
        transformer=transformer,
        pooling=pooling,
        normalize="Normalize" in kinds,
        max_seq_length=settings.max_seq_length,
        lower_case=settings.lower_case,
        prompts=_prompts(folder, top),
        default_prompt_name=top.get("default_prompt_name"),
        similarity=_similarity(folder, top),
        dense=dense,
        include_prompt=include_prompt or pooling_spec(pooling).pooler,  # a pooler sees the first token only
        pooling_given=override is not None,
    )


def _known_modules(dense: int) -> list[list[str]]:
    """What modules.json may list, with so many Dense modules."""
    pooled = ["Transformer", "Pooling", *["Dense"] * dense]
    return [pooled, [*pooled, "Normalize"], *([] if dense else [["Transformer"]])]


def _modules(folder: Path) -> list[tuple[str, Path]]:
    file = folder / "modules.json"
    entries = read_json(file)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(f"{file}: a list of modules was expected.")
    modules = []
    for entry in entries:  # in this order, whatever their idx says: sentence-transformers does not read it
        kind, path = str(entry.get("type", "")), str(entry.get("path", ""))
        if not kind.startswith("sentence_transformers."):
            raise UnsupportedModelError(
                f"{file}: the module type {kind!r} is custom code, which is never run; "
                "only sentence-transformers' Transformer, Pooling, Dense and Normalize are supported."
            )
        if kind.split(".")[1] in _OTHER_MODELS:
            raise UnsupportedModelError(f"{file}: the module type {kind!r} is not of a SentenceTransformer.")
        if entry.get("kwargs"):
            raise UnsupportedModelError(
                f"{file}: the module {kind!r} has kwargs {entry['kwargs']!r}, which are not supported."
            )
        target = folder / path
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UntrustedCheckpointError(f"{file}: the module path {path!r} leads out of the checkpoint.")
        modules.append((kind.rsplit(".", 1)[-1], target))
    return modules


def _prompts(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if isinstance(prompts, dict):  # null is what sentence-transformers has before a prompt is set: none
        prompts = {prompt: "" if text is None else text for prompt, text in prompts.items()}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(
            f"{folder / 'config_sentence_transformers.json'}: prompts must map names to texts."
        )
    name = config.get("default_prompt_name")
    if name is not None and (not isinstance(name, str) or name not in prompts):
        raise CheckpointError(
            f"{folder / 'config_sentence_transformers.json'}: default_prompt_name {name!r} is not in prompts."
        )
    return dict(sorted(prompts.items()))


def _similarity(folder: Path, config: dict[str, Any]) -> str:
    name = config.get("similarity_fn_name") or "cosine"
    if name not in _SIMILARITIES:
        raise UnsupportedModelError(
            f"{folder / 'config_sentence_transformers.json'}: similarity_fn_name {name!r} is not supported; "
            f"known: {', '.join(_SIMILARITIES)}."
        )
    return str(name)
