"""BERT: m3e-small/base/large, text2vec, MacBERT, LERT, bge-*-zh, MiniLM and others with the same names."""

from __future__ import annotations

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import BERT_NAMES, POSITIONS, TYPES, WORDS, encoder_weights
from m3e_export.architectures.settings import BERT_VARIANTS, Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation, the kind of positions or a decoder is not supported.
    """
    refuse_variants(config, BERT_VARIANTS)
    return encoder_spec(config, "bert")


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map BERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    del config
    lookup = TensorLookup(tensors, WORDS)
    positions = lookup.get(POSITIONS, spec.max_positions, spec.hidden)
    types = lookup.rows(TYPES, spec.hidden)
    return encoder_weights(lookup, spec, BERT_NAMES, positions + types[0], types)
