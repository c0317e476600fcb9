"""RoBERTa, XLM-RoBERTa (bge-m3, multilingual-e5) and CamemBERT: BERT's names, positions counted otherwise.

The first token of a text has position ``pad_token_id + 1``. A padding token has position ``pad_token_id`` and
does not move the tokens after it, also where it is written in the text (``<pad>``). Earlier rows are unused.
"""

from __future__ import annotations

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.layers import BERT_NAMES, POSITIONS, TYPES, WORDS, encoder_weights
from m3e_export.architectures.settings import BERT_VARIANTS, Config, encoder_spec, refuse_variants
from m3e_export.architectures.tensors import TensorLookup, Tensors

__all__ = ["spec", "weights"]

_DEFAULT_PAD = 1  # RobertaConfig's


def spec(config: Config) -> EncoderSpec:
    """Sizes from ``config.json``; the position table is longer than the longest text.

    Raises:
        CheckpointError: a size is missing or impossible.
        UnsupportedModelError: a variant that is not known.
    """
    refuse_variants(config, BERT_VARIANTS)
    return encoder_spec(
        config, str(config["model_type"]), pad_token_id=_DEFAULT_PAD, positions_after_padding=True
    )


def weights(config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
    """Map the tensor names.

    Raises:
        CheckpointError: a tensor is missing, of another shape than the config says, or not finite.
    """
    del config
    lookup = TensorLookup(tensors, WORDS)
    pad = spec.pad_token_id
    positions = lookup.get(POSITIONS, pad + 1 + spec.max_positions, spec.hidden)[pad:]
    types = lookup.rows(TYPES, spec.hidden)
    return encoder_weights(lookup, spec, BERT_NAMES, positions + types[0])
