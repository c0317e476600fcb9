"""The layer of a MultiVectorEncoder that gives each token a vector, and its lengths and expansions.

Its Dense modules have no activations, so together they are one linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from m3e_export.architectures import EncoderSpec
from m3e_export.checkpoint.multi_vector import Expansion, MultiVectorConfig
from m3e_export.checkpoint.pooling import read_dense
from m3e_export.checkpoint.token_heads import TokenHeads, TokenLinear
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import QueryExpansion, TaskSettings

__all__ = ["late_interaction_heads"]


def late_interaction_heads(
    config: MultiVectorConfig,
    spec: EncoderSpec,
    tokenizer: Tokenizer,
    special_tokens: Mapping[str, str],
    length: int,
) -> TokenHeads:
    """Read the Dense modules, and resolve the tokens that the settings name.

    Args:
        config: the settings.
        spec: of the encoder.
        tokenizer: the checkpoint's.
        special_tokens: roles of special tokens, such as ``mask_token``.
        length: the longest text in tokens, unless the settings have another one.

    Raises:
        CheckpointError: a file or a setting is not valid, or a length is beyond the position table.
        UnsupportedModelError: a Dense module has an activation.
    """
    skipped = _skipped_ids(config.skipped, tokenizer)
    of_task = {task: skipped if task in config.skipped_in else () for task in ("query", "document")}
    expansion = _expansion(config.expansion, tokenizer, special_tokens)
    query = TaskSettings(_query_length(config, length), of_task["query"], expansion)
    document = TaskSettings(config.document_length or length, of_task["document"])
    special = tokenizer.num_special_tokens_to_add(False)
    for task, settings in (("query", query), ("document", document)):
        _check_length(task, settings, spec.max_positions, special)
    _check_windows(expansion, spec, special)
    linear = _linear(config.dense, spec.hidden)
    return TokenHeads(None, linear, (), config.unit_length, 0, query, document, dense=False)


def _linear(folders: Sequence[Path], hidden: int) -> TokenLinear:
    """The product of the Dense modules, computed in float64; without any, the states themselves."""
    weight, bias = np.eye(hidden), np.zeros(hidden)
    for folder in folders:
        layer = read_dense(folder, weight.shape[1], "token_embeddings")
        if layer.activation != "identity":
            raise UnsupportedModelError(
                f"{folder / 'config.json'}: the activation {layer.activation} of a MultiVectorEncoder is not "
                "supported; only torch.nn.Identity is."
            )
        weight, bias = weight @ layer.weight, bias @ layer.weight + layer.bias
    return TokenLinear(np.ascontiguousarray(weight, np.float32), bias.astype(np.float32))


def _skipped_ids(words: Sequence[str], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids of words that are one token. sentence-transformers leaves out the others."""
    ids = {tokenizer.token_to_id(word) for word in words}
    return tuple(sorted(each for each in ids if each is not None))


def _expansion(
    given: Expansion | None, tokenizer: Tokenizer, special_tokens: Mapping[str, str]
) -> QueryExpansion | None:
    if given is None:
        return None
    token = given.token or special_tokens.get("mask_token") or special_tokens.get("eos_token")
    token_id = None if token is None else tokenizer.token_to_id(token)
    if token_id is None:
        raise CheckpointError(f"query_expansion: the tokenizer has no token {token or '[MASK]'!r}.")
    if not given.attended and tokenizer.encode("").ids[-1:] in ([], [token_id]):
        raise UnsupportedModelError(
            f"query_expansion: the tokenizer does not put another token than {token!r} behind each text, so "
            "the tokens that are not attended cannot be told from those of the text."
        )
    return QueryExpansion(token_id, given.length, given.attended)


def _query_length(config: MultiVectorConfig, length: int) -> int:
    if config.expansion is None:
        return config.query_length or length
    if config.expansion.cuts:
        return config.expansion.length
    return max(config.query_length, config.expansion.length) if config.query_length else length


def _check_windows(expansion: QueryExpansion | None, spec: EncoderSpec, special: int) -> None:
    """Check that each token of an expansion that is not attended sees a token of the shortest query."""
    if expansion is None or expansion.attended:
        return
    windows = [each.before for each in spec.layer_attention if each.before is not None]
    if windows and expansion.length - 1 - min(windows) >= special:
        raise UnsupportedModelError(
            f"query_expansion: {expansion.length} tokens that are not attended are beyond the window of "
            f"{min(windows)} tokens before a token, so the last see none; set attend to true or a shorter "
            "length."
        )


def _check_length(task: Task | str, settings: TaskSettings, positions: int, special: int) -> None:
    longest = max(settings.max_length, settings.expansion.length if settings.expansion else 0)
    if not special < settings.max_length <= longest <= positions:
        raise CheckpointError(
            f"the length {longest} of a {task} is not from {special + 1} to {positions}, the positions that "
            "the model has."
        )
