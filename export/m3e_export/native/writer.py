"""Writing the native artifact with the names, shapes and metadata of ``runtime/native/src/weights.cpp``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import EncoderSpec, EncoderWeights, LayerWeights, Linear, Norm
from m3e_export.checkpoint.head import HeadLayer, LayerNorm, UnitLength, dimension_of
from m3e_export.checkpoint.pooling import Dense, pooling_spec
from m3e_export.checkpoint.splade import TermHead
from m3e_export.checkpoint.token_heads import TokenHeads, TokenLinear
from m3e_export.native.metadata import FORMAT_VERSION, encoder_metadata
from m3e_export.native.packing import alternate_halves, pack_codes, pack_floats, pad_outputs
from m3e_export.native.safetensors_file import write_safetensors
from m3e_export.precision.activations import RangeCodes
from m3e_export.precision.half import rounded_to_bfloat16
from m3e_export.precision.int8 import QuantizedLinear, quantize_linear
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["FORMAT_VERSION", "save_native"]

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]


def save_native(
    spec: EncoderSpec,
    weights: EncoderWeights,
    plan: PrecisionPlan,
    pooling: str,
    normalize: bool,
    path: Path,
    dense: Sequence[HeadLayer] = (),
    state_weights: npt.NDArray[np.float32] | None = None,
    token_heads: TokenHeads | None = None,
) -> list[Path]:
    """Write the weights in the formats of ``plan``; return the files.

    Norms, biases, the layers after the pooling (``dense``, including the encoder's pooler) and
    ``token_heads`` but for terms are always float32: they are small and matter much. ``state_weights``,
    float32 ``[layers + 1]``, are the weights of the states of the embeddings and each layer in the pooled
    states.
    """
    metadata = encoder_metadata(spec, weights, _pooling(pooling), normalize)
    if dense:
        widths = (dimension_of(pooling, spec.hidden, dense[: place + 1]) for place in range(len(dense)))
        metadata["dense"] = "+".join(
            f"{width}:{_kind(layer)}" for width, layer in zip(widths, dense, strict=True)
        )
    if plan.bfloat16:
        metadata["products"] = "bfloat16"
    tensors = {**dict(_tensors(spec, weights, plan)), **dict(_head(dense))}
    if state_weights is not None:
        metadata["states"] = "weighted"
        tensors["state_weights"] = state_weights
    if token_heads is not None:
        metadata |= _token_metadata(token_heads)
        tensors |= dict(_token_tensors(token_heads))
        if token_heads.terms is not None:
            tensors |= dict(_term_tensors(token_heads.terms, plan))
    write_safetensors(path, tensors, metadata)
    return [path]


def _pooling(name: str) -> str:
    """The pooling's name in the metadata. The encoder's pooler is a dense layer there."""
    spec = pooling_spec(name)
    return "+".join(spec.reductions) if spec.pooler else spec.name


def _kind(layer: HeadLayer) -> str:
    """The name of ``layer`` in the metadata: of a linear layer, its activation."""
    if isinstance(layer, Dense):
        return layer.activation
    return "layer_norm" if isinstance(layer, LayerNorm) else "unit_length"


def _head(layers: Sequence[HeadLayer]) -> Tensors:
    for index, layer in enumerate(layers):
        name = f"dense.{index}"
        if isinstance(layer, LayerNorm):
            yield f"{name}.gamma", layer.gamma
            yield f"{name}.beta", layer.beta
        elif not isinstance(layer, UnitLength):
            yield name, pack_floats(layer.weight)
            yield f"{name}.bias", pad_outputs(layer.bias)


def _token_metadata(heads: TokenHeads) -> dict[str, str]:
    found = {} if heads.sparse is None else {"token_weights": "relu"}
    if heads.terms is not None:
        found["term_weights"] = ":".join([heads.terms.activation, *["log1p"] * heads.terms.logarithms])
    if heads.multi_vector is not None:
        length = "unit_length" if heads.unit_length else "identity"
        found["token_vectors"] = f"{len(heads.multi_vector.bias)}:{length}"
    return found


def _term_tensors(head: TermHead, plan: PrecisionPlan) -> Tensors:
    """The decoder is int8 if the encoder is: it is as large as the word embeddings."""
    if plan.quantized:
        decoder = quantize_linear(head.decoder, together=RangeCodes.together)
        plan = replace(plan, quantized={**plan.quantized, decoder.name: decoder})
    yield from _linear(head.transform, plan)
    yield from _norm("term_norm", head.norm)
    yield from _linear(head.decoder, plan)


def _token_tensors(heads: TokenHeads) -> Tensors:
    named: list[tuple[str, TokenLinear | None]] = [
        ("token_weights", heads.sparse),
        ("token_vectors", heads.multi_vector),
    ]
    for name, linear in named:
        if linear is not None:
            yield name, pack_floats(linear.weight)
            yield f"{name}.bias", pad_outputs(linear.bias)


def _tensors(spec: EncoderSpec, weights: EncoderWeights, plan: PrecisionPlan) -> Tensors:
    yield from plan.embeddings.tensors("word_embeddings", weights.word_embeddings)
    name = "position_embeddings"
    yield name, weights.position_embeddings.astype(plan.storage_of(name))
    if weights.token_type_embeddings is not None:
        yield "token_type_embeddings", weights.token_type_embeddings
    yield from _norm("embedding_norm", weights.embedding_norm)
    if weights.relative_bias is not None:
        yield "relative_bias", weights.relative_bias
    if weights.rotary_tables is not None:
        yield "rotary_tables", weights.rotary_tables
    if weights.embedding_projection is not None:
        yield from _linear(weights.embedding_projection, plan)
    for index, layer in enumerate(weights.stored_layers()):
        yield from _layer(f"layer.{index}", layer, plan, spec.gated)
    yield from _norm("final_norm", weights.final_norm)


def _layer(base: str, layer: LayerWeights, plan: PrecisionPlan, gated: bool) -> Tensors:
    for linear in layer.linears():
        yield from _linear(linear, plan, alternate=gated and linear is layer.intermediate)
    yield from _norm(f"{base}.attention_norm", layer.attention_norm)
    yield from _norm(f"{base}.second_norm", layer.second_norm)
    yield from _norm(f"{base}.output_norm", layer.output_norm)
    yield from _norm(f"{base}.query_norm", layer.query_norm)
    yield from _norm(f"{base}.key_norm", layer.key_norm)


def _norm(name: str, norm: Norm | None) -> Tensors:
    if norm is not None:
        yield f"{name}.gamma", norm.gamma
        yield f"{name}.beta", norm.beta


def _linear(linear: Linear, plan: PrecisionPlan, alternate: bool = False) -> Tensors:
    """A matrix. ``alternate`` says that panels of both halves of its outputs take turns."""
    arranged = alternate_halves if alternate else np.asarray
    quantized = plan.quantized.get(linear.name)
    if quantized is None:
        stored = arranged(linear.weight).astype(plan.storage_of(linear.name))
        if plan.bfloat16 and stored.dtype == np.float16:
            stored = rounded_to_bfloat16(stored)
        yield linear.name, pack_floats(stored)
        yield f"{linear.name}.bias", pad_outputs(arranged(linear.bias))
    else:
        yield from _quantized(_alternating(quantized) if alternate else quantized)


def _alternating(linear: QuantizedLinear) -> QuantizedLinear:
    return replace(
        linear,
        codes=alternate_halves(linear.codes),
        scales=alternate_halves(linear.scales),
        bias=alternate_halves(linear.bias),
    )


def _quantized(linear: QuantizedLinear) -> Tensors:
    """``sums`` are the factors on a row's smallest value: see ``Int8Matrix`` in the kernels."""
    sums = linear.codes.sum(axis=0, dtype=np.int64) * linear.scales
    yield linear.name, pack_codes(linear.codes)
    yield f"{linear.name}.scales", pad_outputs(linear.scales)
    yield f"{linear.name}.sums", pad_outputs(sums.astype(np.float32))
    yield f"{linear.name}.bias", pad_outputs(linear.bias)
    if linear.smoothing is not None:
        yield f"{linear.name}.smoothing", linear.smoothing
