"""The settings in the files around the weights: pooling, normalization, lengths, prompts.

Three kinds of folders are read:

* sentence-transformers: ``modules.json`` lists Transformer, Pooling and other modules;
* uniem (m3e-large and its fine-tunes): ``uniem_pooling_strategy`` in ``config.json``;
* transformers: no pooling is given, so the mean is taken with a warning, as in sentence-transformers. If
  ``config.json`` names a class ``…ForSequenceClassification``, the folder is a reranker or classifier.

CrossEncoder of sentence-transformers reads rerankers of the last kind, and since version 6 writes the first
kind, with a Transformer as the only module.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from m3e_export.checkpoint.adapter import fetch_base, is_adapter, merge_adapter
from m3e_export.checkpoint.classification import (
    classifier_pooling,
    is_classifier,
    read_activation,
    read_labels,
)
from m3e_export.checkpoint.head import HEAD_MODULES, head_modules
from m3e_export.checkpoint.jsonfile import read_json, read_object
from m3e_export.checkpoint.model_config import (
    MODEL_TYPES,
    read_default_prompt,
    read_model_config,
    read_prompts,
    read_similarity,
)
from m3e_export.checkpoint.module_entry import ModuleEntry, read_entry
from m3e_export.checkpoint.multi_vector import (
    ALIASES,
    MultiVectorConfig,
    has_multi_vectors,
    read_multi_vector_config,
    with_prefixes,
)
from m3e_export.checkpoint.pooling import UNIEM_POOLINGS, pooling_spec, read_include_prompt, read_pooling
from m3e_export.checkpoint.refused import refuse_folder_above
from m3e_export.checkpoint.router import follow_route, read_route
from m3e_export.checkpoint.splade import SpladeConfig, read_splade_config
from m3e_export.checkpoint.token_heads import has_token_heads
from m3e_export.checkpoint.tokenizer import has_tokenizer
from m3e_export.checkpoint.transformer_module import SHORTEST, Task, read_transformer_settings
from m3e_export.checkpoint.weights import Tensors, has_weights, load_tensors
from m3e_export.errors import CheckpointError, OptionError, UnsupportedModelError
from m3e_export.hubs import DEFAULT_HUB, HubName
from m3e_runtime.manifest import Activation, Route, Similarity

__all__ = ["SHORTEST", "Pooling", "SentenceConfig", "read_sentence_config"]

logger = logging.getLogger(__name__)

Pooling = str
"""A name that :func:`m3e_export.checkpoint.pooling.pooling_spec` knows."""

_HEADS = (
    *("ForTokenClassification", "ForQuestionAnswering"),
    *("ForMultipleChoice", "ForNextSentencePrediction"),
)
_STANFORD = "HF_ColBERT"
# The supported lists of modules.
_KNOWN_MODULES = re.compile(rf"Transformer(( WeightedLayerPooling)? Pooling( ({'|'.join(HEAD_MODULES)}))*)?")
# uniem/model.py. The older key is read if the newer one is absent.
_UNIEM_KEYS = ("uniem_pooling_strategy", "uniem_embedding_strategy")


@dataclass(frozen=True)
class SentenceConfig:
    """The settings of a checkpoint, except its weights and its architecture.

    ``transformer`` is the folder of config.json and the weights. ``dense`` are the kinds and folders of the
    modules after the pooling, in order and without a final Normalize. ``state_weights`` is the folder of a
    WeightedLayerPooling, ``adapter`` that of an adapter to merge into the weights, and ``own_tokenizer`` that
    of the tokenizer if it is not ``transformer``. ``include_prompt`` says whether the tokens of a prompt are
    pooled, ``pooling_given`` whether the user chose the pooling. ``route`` is the route that was followed in
    a Router. ``truncate_dim`` is the number of dimensions that sentence-transformers keeps by default.
    ``labels`` are those of a reranker or classifier, and ``activation`` what CrossEncoder applies to its
    logits; an embedding model has none. ``multi_vector`` is there for a late-interaction model and ``splade``
    for a SparseEncoder. These have no vectors of texts: the pooling is only there to compare states with the
    original's.
    """

    kind: Literal["sentence-transformers", "uniem", "transformers"]
    transformer: Path
    pooling: Pooling
    normalize: bool
    max_seq_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: Similarity = "cosine"
    dense: tuple[tuple[str, Path], ...] = ()
    state_weights: Path | None = None
    include_prompt: bool = True
    pooling_given: bool = False
    adapter: Path | None = None
    own_tokenizer: Path | None = None
    route: Route | None = None
    truncate_dim: int | None = None
    labels: tuple[str, ...] = ()
    activation: Activation | None = None
    multi_vector: MultiVectorConfig | None = None
    splade: SpladeConfig | None = None

    @property
    def gives_dense(self) -> bool:
        """Whether the model has vectors of texts."""
        return self.multi_vector is None and self.splade is None

    def truncated(self, dimension: int) -> int | None:
        """``truncate_dim``, or None if vectors of ``dimension`` are not longer."""
        return self.truncate_dim if self.truncate_dim and self.truncate_dim < dimension else None

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer."""
        return self.own_tokenizer or self.transformer

    def load_weights(self) -> Tensors:
        """The transformer's weights, with the adapter merged if there is one.

        Raises:
            CheckpointError: a file is missing or damaged. Subclasses: the adapter is not supported, or a file
                would run code.
            DependencyMissingError: torch, which reads pickles, is not installed.
        """
        tensors = load_tensors(self.transformer)
        if self.adapter is None:
            return tensors
        config = read_object(self.transformer / "config.json", required=True)
        return merge_adapter(tensors, self.adapter, str(config.get("model_type")))


def read_sentence_config(
    folder: Path, pooling: Pooling | None = None, route: str | None = None, hub: HubName = DEFAULT_HUB
) -> SentenceConfig:
    """Read the files around the weights of the checkpoint in ``folder``.

    Args:
        folder: the checkpoint's folder.
        pooling: overrides the checkpoint's pooling, with a warning.
        route: the route to follow in a Router.
        hub: the hub of an adapter's base model.

    Raises:
        CheckpointError: a file is missing or broken.
        OptionError: the checkpoint does not have the route.
        UnsupportedModelError: a module or pooling is not supported; the message names it.
        UntrustedCheckpointError: the path of a module leads out of the folder.
    """
    pooling = None if pooling is None else pooling_spec(pooling).name
    refuse_folder_above(folder)
    if (folder / "modules.json").exists():
        sentence_config = _sentence_transformers(folder, pooling, route)
        if is_adapter(sentence_config.transformer):
            sentence_config = _adapted(
                sentence_config, sentence_config.transformer, _base_of(sentence_config.transformer, hub)
            )
    elif route is not None:
        raise OptionError(f"--route {route}: the model has no modules.json and no routes.")
    elif is_adapter(folder):
        sentence_config = _adapter_alone(folder, pooling, hub)
    else:
        sentence_config = _plain(folder, pooling)
    if pooling is not None and sentence_config.kind != "transformers":
        logger.warning("Pooling %r overrides the checkpoint's pooling.", pooling)
    return sentence_config


def _base_of(adapter: Path, hub: HubName) -> Path:
    if has_weights(adapter):
        raise CheckpointError(
            f"{adapter}: there are weights and an adapter_config.json, and it is unclear whether the adapter "
            "is merged; remove one of the two."
        )
    return fetch_base(adapter, hub)


def _adapted(sentence_config: SentenceConfig, adapter: Path, transformer: Path) -> SentenceConfig:
    """``sentence_config`` with the weights of ``transformer``, changed by ``adapter``."""
    own = adapter if has_tokenizer(adapter) else None
    return dataclasses.replace(sentence_config, transformer=transformer, adapter=adapter, own_tokenizer=own)


def _adapter_alone(folder: Path, override: Pooling | None, hub: HubName) -> SentenceConfig:
    """An adapter as PEFT saves it, for the encoder only. All other settings are the base model's."""
    base = read_sentence_config(_base_of(folder, hub), override, hub=hub)
    if base.labels:
        raise _unmerged(folder)
    if override is None and base.kind != "transformers":
        logger.warning(
            "%s: an adapter without modules.json; the pooling (%s) and all other settings are the base "
            "model's.",
            folder,
            base.pooling,
        )
    return dataclasses.replace(_adapted(base, folder, base.transformer), kind="transformers")


def _unmerged(adapter: Path, kind: str = "reranker or classifier") -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{adapter}: an adapter of a {kind} is not supported; merge it with PEFT's "
        "merge_and_unload, and export the result."
    )


def _plain(folder: Path, override: Pooling | None) -> SentenceConfig:
    config = read_object(folder / "config.json", required=True)
    if override is None:
        _check_plain(folder, config)
        if is_classifier(config):
            return _classifier(folder, config)
    key = next((key for key in _UNIEM_KEYS if key in config), None)
    if key is None:
        if override is None and has_token_heads(folder):  # bge-m3's, as FlagEmbedding's M3Embedder loads it
            return SentenceConfig("transformers", folder, "cls", normalize=True)
        if override is None:
            logger.warning("%s: no pooling is given; taking the mean. Set it with --pooling.", folder)
        given = override is not None
        return SentenceConfig(
            "transformers", folder, override or "mean", normalize=False, pooling_given=given
        )
    found = str(config[key])
    if override is None and found not in UNIEM_POOLINGS:
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: {key} {config[key]!r} is not supported; "
            f"known: {', '.join(UNIEM_POOLINGS)}."
        )
    pooling = override or pooling_spec(found).name
    return SentenceConfig("uniem", folder, pooling, normalize=False, pooling_given=override is not None)


def _classifier(
    folder: Path, config: dict[str, Any], given: object = None, source: Path | None = None
) -> SentenceConfig:
    """A reranker or classifier; ``given`` and ``source`` are as for :func:`read_activation`."""
    file = folder / "config.json"
    labels = read_labels(file, config)
    activation = read_activation(file, config, len(labels), given, source)
    pooling = classifier_pooling(file, config)
    return SentenceConfig(
        "transformers", folder, pooling, normalize=False, labels=labels, activation=activation
    )


def _check_plain(folder: Path, config: dict[str, Any]) -> None:
    """Check that the folder is a classifier, or an embedding model that only lacks the pooling."""
    named = config.get("architectures")
    if isinstance(named, list) and _STANFORD in named:
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: {_STANFORD} is Stanford's format. Load the folder with "
            "MultiVectorEncoder of sentence-transformers, and export what its save_pretrained writes."
        )
    heads = [name for name in named if str(name).endswith(_HEADS)] if isinstance(named, list) else []
    if heads:
        raise UnsupportedModelError(
            f"{folder / 'config.json'}: {heads[0]} computes neither vectors nor labels of texts. To "
            "export its encoder, set --pooling."
        )
    left = [name for name in ("1_Pooling", "config_sentence_transformers.json") if (folder / name).exists()]
    if left:
        raise CheckpointError(
            f"{folder}: there is {left[0]} but no modules.json, so a part of the model may be missing; copy "
            "or download it again, or set --pooling."
        )


def _sentence_transformers(folder: Path, override: Pooling | None, route: str | None) -> SentenceConfig:
    top = read_model_config(folder)
    late_interaction, sparse = has_multi_vectors(top), top.get("model_type") == MODEL_TYPES[-1]
    listed = _modules(folder, ALIASES if late_interaction else {})
    modules = follow_route(folder, listed, route)
    if top.get("model_type") == MODEL_TYPES[1]:
        return _cross_encoder(folder, top, modules, override)
    if late_interaction:
        return _late_interaction(folder, top, modules, override)
    if sparse:
        found = _sparse(folder, top, modules, override)
        return dataclasses.replace(found, route=read_route(listed, route))
    kinds = [kind for kind, _ in modules]
    if not _KNOWN_MODULES.fullmatch(" ".join(kinds)):
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: the modules {' → '.join(kinds) or '(none)'} are not supported; "
            "a Transformer, optionally WeightedLayerPooling, Pooling, then any of "
            f"{', '.join(HEAD_MODULES)} are."
        )
    transformer = modules[0][1]
    head, normalize = head_modules([module for module in modules if module[0] in HEAD_MODULES])
    settings = read_transformer_settings(transformer)
    pooling_folder = dict(modules).get("Pooling")
    if override is None and pooling_folder is None:
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: there is no Pooling module, so sentence-transformers computes no "
            "vectors of texts; set --pooling."
        )
    pooling = override or read_pooling(pooling_folder or folder)
    include_prompt = pooling_folder is None or read_include_prompt(pooling_folder)
    return SentenceConfig(
        kind="sentence-transformers",
        transformer=transformer,
        pooling=pooling,
        normalize=normalize,
        max_seq_length=settings.max_seq_length,
        lower_case=settings.lower_case,
        prompts=read_prompts(folder, top),
        default_prompt_name=top.get("default_prompt_name"),
        similarity=read_similarity(folder, top),
        truncate_dim=top.get("truncate_dim"),
        dense=head,
        state_weights=dict(modules).get("WeightedLayerPooling"),
        include_prompt=include_prompt or pooling_spec(pooling).pooler,  # a pooler uses the first token only
        pooling_given=override is not None,
        route=read_route(listed, route),
    )


def _cross_encoder(
    folder: Path, top: dict[str, Any], modules: Sequence[ModuleEntry], override: Pooling | None
) -> SentenceConfig:
    """The folder of a CrossEncoder; with ``override``, that of its encoder."""
    kinds = [kind for kind, _ in modules]
    if kinds != ["Transformer"]:
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: the modules {' → '.join(kinds) or '(none)'} of a CrossEncoder are "
            "not supported; a Transformer alone is."
        )
    transformer = modules[0][1]
    if is_adapter(transformer):
        raise _unmerged(transformer)
    settings = read_transformer_settings(transformer, "sequence-classification")
    config = read_object(transformer / "config.json", required=True)
    if override is not None:
        found = _plain(transformer, override)
    elif is_classifier(config):
        source = folder / "config_sentence_transformers.json"
        found = _classifier(transformer, config, top.get("activation_fn"), source)
    else:
        raise UnsupportedModelError(
            f"{transformer / 'config.json'}: architectures {config.get('architectures')!r} names no class "
            "…ForSequenceClassification, so the model has no trained classifier."
        )
    return dataclasses.replace(
        found,
        kind="sentence-transformers",
        max_seq_length=settings.max_seq_length,
        lower_case=settings.lower_case,
        prompts=read_prompts(folder, top),
        default_prompt_name=top.get("default_prompt_name"),
    )


def _late_interaction(
    folder: Path, top: dict[str, Any], modules: Sequence[ModuleEntry], override: Pooling | None
) -> SentenceConfig:
    """The folder of a MultiVectorEncoder."""
    if override is not None:
        raise OptionError(f"--pooling {override}: a MultiVectorEncoder gives a vector of each token.")
    transformer = modules[0][1] if modules else folder
    if is_adapter(transformer):
        raise _unmerged(transformer, "MultiVectorEncoder")
    settings = read_transformer_settings(transformer, late_interaction=True)
    prompts = with_prefixes(folder, top, read_prompts(folder, {**top, "default_prompt_name": None}))
    return SentenceConfig(
        kind="sentence-transformers",
        transformer=transformer,
        pooling="mean",
        normalize=False,
        max_seq_length=settings.max_seq_length,
        lower_case=settings.lower_case,
        prompts=prompts,
        default_prompt_name=read_default_prompt(folder, top, prompts),
        multi_vector=read_multi_vector_config(folder, top, modules, settings),
    )


def _sparse(
    folder: Path, top: dict[str, Any], modules: Sequence[ModuleEntry], override: Pooling | None
) -> SentenceConfig:
    """The folder of a SparseEncoder."""
    if override is not None:
        raise OptionError(f"--pooling {override}: a SparseEncoder gives weights of the vocabulary.")
    config = read_splade_config(folder, top, modules)
    transformer = modules[0][1]
    if is_adapter(transformer):
        raise _unmerged(transformer, "SparseEncoder")
    unnamed: Task = "fill-mask" if config.old else "feature-extraction"
    settings = read_transformer_settings(transformer, "fill-mask", unnamed=unnamed)
    return SentenceConfig(
        kind="sentence-transformers",
        transformer=transformer,
        pooling="mean",
        normalize=False,
        max_seq_length=settings.max_seq_length,
        lower_case=settings.lower_case,
        prompts=read_prompts(folder, top),
        default_prompt_name=top.get("default_prompt_name"),
        splade=config,
    )


def _modules(folder: Path, aliases: Mapping[str, str]) -> list[ModuleEntry]:
    file = folder / "modules.json"
    entries = read_json(file)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError(f"{file}: a list of modules was expected.")
    modules = []
    for entry in entries:  # sentence-transformers ignores idx
        kind, path = str(entry.get("type", "")), str(entry.get("path", ""))
        modules.append(read_entry(file, folder, folder, aliases.get(kind, kind), path))
        if entry.get("kwargs"):
            raise UnsupportedModelError(
                f"{file}: the module {kind!r} has kwargs {entry['kwargs']!r}, which are not supported."
            )
    return modules
