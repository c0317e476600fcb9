"""BERT: m3e-small/base/large, text2vec, MacBERT, LERT, bge-*-zh, MiniLM and all that share its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights, LayerWeights, Linear, Norm
from m3e_export.architectures.tensors import TensorLookup, positive_float, positive_int
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["spec", "weights"]

_ANCHOR = "embeddings.word_embeddings.weight"
_DEFAULT_EPS = 1e-12  # BertConfig's default


def spec(config: Mapping[str, Any]) -> EncoderSpec:
    """Sizes from ``config.json``.

    Raises:
        CheckpointError: a size is missing or impossible.
        UnsupportedModelError: an activation, position embedding or decoder that BERT encoders do not have.
    """
    _refuse_variants(config)
    found = EncoderSpec(
        model_type="bert",
        layers=positive_int(config, "num_hidden_layers", 1024),
        hidden=positive_int(config, "hidden_size", 1 << 16),
        heads=positive_int(config, "num_attention_heads", 1024),
        intermediate=positive_int(config, "intermediate_size", 1 << 18),
        vocab_size=positive_int(config, "vocab_size"),
        max_positions=positive_int(config, "max_position_embeddings", 1 << 20),
        norm_eps=positive_float(config, "layer_norm_eps", _DEFAULT_EPS),
    )
    if found.hidden % found.heads:
        raise CheckpointError(
            f"config.json: hidden_size {found.hidden} is not divisible by {found.heads} heads."
        )
    return found


def weights(spec: EncoderSpec, tensors: Mapping[str, npt.NDArray[np.float32]]) -> EncoderWeights:
    """Map BERT's tensor names; PyTorch stores matrices ``[outputs, inputs]``, we ``[inputs, outputs]``.

    Raises:
        CheckpointError: a tensor is missing, of another shape than the config says, or not finite.
    """
    lookup = TensorLookup(tensors, _ANCHOR)
    hidden = spec.hidden
    positions = lookup.get("embeddings.position_embeddings.weight", spec.max_positions, hidden)
    types = _token_types(lookup, tensors, hidden)
    return EncoderWeights(
        word_embeddings=lookup.get(_ANCHOR, spec.vocab_size, hidden),
        position_embeddings=positions + types[0],
        embedding_norm=_norm(lookup, "embeddings.LayerNorm", hidden),
        layers=tuple(_layer(lookup, spec, index) for index in range(spec.layers)),
    )


def _refuse_variants(config: Mapping[str, Any]) -> None:
    expected = {
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    }
    for key, allowed in expected.items():
        value = config.get(key, allowed[0])
        if value not in allowed:
            raise UnsupportedModelError(
                f"config.json: {key} {value!r} is not supported; known: {allowed[0]!r}."
            )


def _token_types(
    lookup: TensorLookup, tensors: Mapping[str, npt.NDArray[np.float32]], hidden: int
) -> npt.NDArray[np.float32]:
    name = "embeddings.token_type_embeddings.weight"
    rows = next((len(tensor) for key, tensor in tensors.items() if key.endswith(name)), 1)
    if not rows:
        raise CheckpointError(f"{name}: has no rows.")
    return lookup.get(name, rows, hidden)


def _layer(lookup: TensorLookup, spec: EncoderSpec, index: int) -> LayerWeights:
    base = f"encoder.layer.{index}"
    hidden, wide = spec.hidden, spec.intermediate
    parts = [
        _linear(lookup, f"{base}.attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")
    ]
    return LayerWeights(
        qkv=Linear(
            f"layer.{index}.qkv",
            np.concatenate([part.weight for part in parts], axis=1),
            np.concatenate([part.bias for part in parts]),
        ),
        attention_output=_linear(
            lookup, f"{base}.attention.output.dense", hidden, hidden, f"layer.{index}.attention_output"
        ),
        attention_norm=_norm(lookup, f"{base}.attention.output.LayerNorm", hidden),
        intermediate=_linear(
            lookup, f"{base}.intermediate.dense", hidden, wide, f"layer.{index}.intermediate"
        ),
        output=_linear(lookup, f"{base}.output.dense", wide, hidden, f"layer.{index}.output"),
        output_norm=_norm(lookup, f"{base}.output.LayerNorm", hidden),
    )


def _linear(lookup: TensorLookup, name: str, inputs: int, outputs: int, rename: str = "") -> Linear:
    weight = lookup.get(f"{name}.weight", outputs, inputs)
    return Linear(rename or name, np.ascontiguousarray(weight.T), lookup.get(f"{name}.bias", outputs))


def _norm(lookup: TensorLookup, name: str, hidden: int) -> Norm:
    return Norm(name, lookup.get(f"{name}.weight", hidden), lookup.get(f"{name}.bias", hidden))
