"""DistilBERT: BERT without token types, with other names.

Sinusoidal positions are an ordinary table in a checkpoint.
"""

from __future__ import annotations

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import POSITIONS, WORDS, LayerNames, encoder_weights
from m3e_export.architectures.settings import Config, SizeKeys, encoder_spec
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]

_KEYS = SizeKeys(
    layers="n_layers",
    hidden="dim",
    heads="n_heads",
    intermediate="hidden_dim",
    activation="activation",
    norm_eps=None,
)
_NAMES = LayerNames(
    stem="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    intermediate="ffn.lin1",
    output="ffn.lin2",
    output_norm="output_layer_norm",
)


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the activation is not supported.
    """
    return encoder_spec(config, "distilbert", _KEYS)


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map DistilBERT's tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    del config
    lookup = TensorLookup(tensors, WORDS)
    positions = lookup.get(POSITIONS, spec.max_positions, spec.hidden)
    return encoder_weights(lookup, spec, _NAMES, positions)
