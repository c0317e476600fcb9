"""ERNIE: text2vec-base-chinese-sentence and -paraphrase. BERT with an embedding of the task."""

from __future__ import annotations

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import BERT_NAMES, POSITIONS, TYPES, WORDS, encoder_weights
from m3e_export.architectures.settings import BERT_VARIANTS, Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]

_TASKS = "embeddings.task_type_embeddings.weight"
_VARIANTS = {**BERT_VARIANTS, "use_task_id": (False, True)}  # ErnieConfig's default first


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the variant is not supported.
    """
    refuse_variants(config, _VARIANTS)
    return encoder_spec(config, "ernie")


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map ERNIE's tensor names. The task is always 0: sentence encoders set no other.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    lookup = TensorLookup(tensors, WORDS)
    positions = lookup.get(POSITIONS, spec.max_positions, spec.hidden)
    types = lookup.rows(TYPES, spec.hidden)
    positions = positions + types[0]
    if config.get("use_task_id", False):
        positions = positions + lookup.rows(_TASKS, spec.hidden)[0]
    return encoder_weights(lookup, spec, BERT_NAMES, positions, types)
