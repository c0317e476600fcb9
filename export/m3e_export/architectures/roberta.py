"""RoBERTa, XLM-RoBERTa (bge-m3, multilingual-e5) and CamemBERT: BERT with other positions.

The first token of a text has position ``pad_token_id + 1``. A padding token has position ``pad_token_id`` and
does not shift the tokens after it, even if a text contains it as ``<pad>``. Earlier rows are unused.
"""

from __future__ import annotations

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import BERT_NAMES, POSITIONS, TYPES, WORDS, encoder_weights
from m3e_export.architectures.settings import BERT_VARIANTS, Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]

_DEFAULT_PAD = 1  # RobertaConfig's


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``. The position table has rows that no text uses.

    Raises:
        CheckpointError: a size is missing or invalid.
        UnsupportedModelError: the variant is not supported.
    """
    refuse_variants(config, BERT_VARIANTS)
    return encoder_spec(
        config, str(config["model_type"]), pad_token_id=_DEFAULT_PAD, positions_after_padding=True
    )


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map the tensor names.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from the config.
    """
    del config
    lookup = TensorLookup(tensors, WORDS)
    pad = spec.pad_token_id
    positions = lookup.get(POSITIONS, pad + 1 + spec.max_positions, spec.hidden)[pad:]
    types = lookup.rows(TYPES, spec.hidden)
    return encoder_weights(lookup, spec, BERT_NAMES, positions + types[0], types)
