"""Loading a checkpoint of a built-in family."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from m3e_export.architectures import EncoderSpec, EncoderWeights, architecture_for
from m3e_export.architectures.settings import Config
from m3e_export.architectures.tensors import ReadTensors, Tensors, refuse_unread
from m3e_export.checkpoint.base import BaseCheckpoint
from m3e_export.checkpoint.classification import read_classifier
from m3e_export.checkpoint.head import HeadLayer, dimension_of, read_head
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.late_interaction_heads import late_interaction_heads
from m3e_export.checkpoint.licence import licence
from m3e_export.checkpoint.multi_vector import register_prefixes
from m3e_export.checkpoint.pooling import check_pooling
from m3e_export.checkpoint.refused import refuse_adapters_below, refuse_other_code, refuse_quantized
from m3e_export.checkpoint.sentence_config import SHORTEST, Pooling, SentenceConfig, read_sentence_config
from m3e_export.checkpoint.source import fetch, source_name
from m3e_export.checkpoint.splade import read_term_head
from m3e_export.checkpoint.state_weights import read_state_weights
from m3e_export.checkpoint.token_heads import TokenHeads, read_token_heads
from m3e_export.checkpoint.tokenizer import (
    gives_token_types,
    load_tokenizer,
    special_token_names,
    tokenizer_length,
)
from m3e_export.errors import CheckpointError, OptionError
from m3e_export.hubs import DEFAULT_HUB, HubName
from m3e_runtime.manifest import Classification

__all__ = ["Checkpoint", "load_checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint(BaseCheckpoint):
    """A checkpoint of a built-in family, with its weights."""

    spec: EncoderSpec
    weights: EncoderWeights


def load_checkpoint(
    source: str,
    *,
    pooling: Pooling | None = None,
    route: str | None = None,
    max_length: int | None = None,
    revision: str | None = None,
    hub: HubName = DEFAULT_HUB,
) -> Checkpoint:
    """Load a checkpoint from a folder or a hub.

    Args:
        source: folder or hub id.
        pooling: overrides the checkpoint's pooling.
        route: the route to follow in a Router.
        max_length: lowers the longest input, in tokens.
        revision: branch, tag or commit on the hub.
        hub: the hub of a hub id.

    Raises:
        CheckpointError: a file is missing or damaged. Subclasses: the model is not supported, or a file would
            run code.
        DependencyMissingError: torch, for a pickle, or the hub's client is not installed.
        OptionError: the model does not support the maximum length, or does not have the route.
    """
    origin = fetch(source, revision, hub)
    folder = origin.folder
    sentence_config = read_sentence_config(folder, pooling, route, hub)
    config = read_object(sentence_config.transformer / "config.json", required=True)
    refuse_quantized(sentence_config.transformer / "config.json", config)
    refuse_other_code(sentence_config.transformer / "config.json", config)
    if sentence_config.adapter is None:
        refuse_adapters_below(sentence_config.transformer)
    spec = architecture_for(config).spec(config)
    check_pooling(sentence_config.pooling, spec)
    tensors = sentence_config.load_weights()
    weights = _weights(config, spec, tensors.arrays)
    if not (sentence_config.labels and gives_token_types(sentence_config.tokenizer, spec.model_type)):
        weights = dataclasses.replace(weights, token_type_embeddings=None)
    tokenizer = load_tokenizer(sentence_config.tokenizer, spec.model_type, sentence_config.lower_case)
    if sentence_config.multi_vector is not None:
        register_prefixes(tokenizer, sentence_config.multi_vector.prefixes)
    _check_vocabulary(sentence_config.tokenizer, tokenizer, spec)
    special_tokens = special_token_names(sentence_config.tokenizer, tokenizer, spec.model_type)
    dense = _head(sentence_config, config, spec, tensors.arrays)
    length = _max_length(sentence_config, spec, max_length)
    return Checkpoint(
        source=source_name(source, folder),
        origin=origin,
        sentence_config=sentence_config,
        config=config,
        model_type=spec.model_type,
        hidden=spec.hidden,
        dimension=dimension_of(sentence_config.pooling, spec.hidden, dense),
        spec=spec,
        weights=weights,
        weights_sha256=tensors.sha256,
        tokenizer=tokenizer,
        special_tokens=special_tokens,
        max_length=length,
        pad_token_id=spec.pad_token_id,
        licence=licence(folder, source, sentence_config, config),
        dense=dense,
        state_weights=read_state_weights(
            sentence_config.state_weights, config, spec.layers, sentence_config.pooling
        ),
        classification=_classification(sentence_config, weights),
        token_heads=_term_heads(sentence_config, config, spec, weights, tensors.arrays)
        or _token_heads(sentence_config, folder, spec, tokenizer, special_tokens, length),
    )


def _weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """The encoder's weights."""
    read = ReadTensors(tensors)
    weights = architecture_for(config).weights(config, spec, read)
    refuse_unread(read, spec.model_type)
    return weights


def _head(
    sentence_config: SentenceConfig, config: Config, spec: EncoderSpec, tensors: Tensors
) -> tuple[HeadLayer, ...]:
    """The layers after the pooling."""
    if sentence_config.labels:
        return read_classifier(config, spec, tensors, len(sentence_config.labels))
    return read_head(sentence_config.pooling, sentence_config.dense, spec.hidden, tensors)


def _term_heads(
    sentence_config: SentenceConfig,
    config: Mapping[str, Any],
    spec: EncoderSpec,
    weights: EncoderWeights,
    tensors: Tensors,
) -> TokenHeads | None:
    """The head of a SparseEncoder."""
    if sentence_config.splade is None:
        return None
    terms = read_term_head(sentence_config.splade, config, spec, weights, tensors)
    return TokenHeads(None, None, (), unit_length=False, terms=terms, dense=False)


def _token_heads(
    sentence_config: SentenceConfig,
    folder: Path,
    spec: EncoderSpec,
    tokenizer: Tokenizer,
    special_tokens: Mapping[str, str],
    length: int,
) -> TokenHeads | None:
    config = sentence_config.multi_vector
    if config is not None:
        return late_interaction_heads(config, spec, tokenizer, special_tokens, length)
    return read_token_heads(folder, spec.hidden, sentence_config.normalize, tokenizer, special_tokens)


def _classification(sentence_config: SentenceConfig, weights: EncoderWeights) -> Classification | None:
    if sentence_config.activation is None:
        return None
    token_types = weights.token_type_embeddings is not None
    return Classification(sentence_config.labels, sentence_config.activation, token_types)


def _max_length(sentence_config: SentenceConfig, spec: EncoderSpec, wanted: int | None) -> int:
    """The smallest limit of sentence config, tokenizer and position table."""
    known = [spec.max_positions]
    if sentence_config.max_seq_length is not None:
        known.append(sentence_config.max_seq_length)
    else:
        known.append(tokenizer_length(sentence_config.tokenizer) or spec.max_positions)
    if wanted is None:
        return _long_enough(min(known))
    if sentence_config.multi_vector is not None:
        raise OptionError(
            f"--max-length {wanted}: a MultiVectorEncoder has query_length and document_length."
        )
    if not SHORTEST <= wanted <= spec.max_positions:
        raise OptionError(
            f"--max-length {wanted}: the model supports {SHORTEST} to {spec.max_positions} tokens."
        )
    return wanted


def _long_enough(length: int) -> int:
    if length < SHORTEST:
        raise CheckpointError(f"the model supports {length} tokens; at least {SHORTEST} are needed.")
    return length


def _check_vocabulary(folder: Path, tokenizer: Tokenizer, spec: EncoderSpec) -> None:
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= spec.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, but the model has {spec.vocab_size} "
            "embeddings."
        )
