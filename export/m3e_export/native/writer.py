"""The native artifact: names, shapes and metadata as ``runtime/native/src/weights.cpp`` expects them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import EncoderSpec, EncoderWeights, Linear, Norm
from m3e_export.checkpoint.pooling import Dense, pooling_spec
from m3e_export.native.packing import pack_codes, pack_floats, pad_outputs
from m3e_export.native.safetensors_file import write_safetensors
from m3e_export.precision.int8 import QuantizedLinear
from m3e_export.precision.plan import PrecisionPlan

__all__ = ["FORMAT_VERSION", "save_native"]

FORMAT_VERSION = "3"

Tensors = Iterator[tuple[str, npt.NDArray[Any]]]


def save_native(
    spec: EncoderSpec,
    weights: EncoderWeights,
    plan: PrecisionPlan,
    pooling: str,
    normalize: bool,
    path: Path,
    dense: Sequence[Dense] = (),
) -> list[Path]:
    """Write the weights as ``plan`` says; return the files written.

    Norms, biases (of scores too) and layers after the pooling (``dense``, the encoder's pooler among them)
    stay float32, whatever the plan: they are small and decide much.
    """
    metadata = {
        "format": "m3e-native",
        "version": FORMAT_VERSION,
        "layers": str(spec.layers),
        "hidden": str(spec.hidden),
        "heads": str(spec.heads),
        "intermediate": str(spec.intermediate),
        "activation": spec.activation,
        "vocabulary": str(spec.vocab_size),
        "positions": str(spec.max_positions),
        "norm_eps": repr(spec.norm_eps),
        "pooling": _pooling(pooling),
        "normalize": str(normalize).lower(),
    }
    if weights.relative_bias is not None:
        metadata["attention_bias"] = "relative"
    if weights.embedding_projection is not None:
        metadata["embedding"] = str(spec.embedding_size)
    if len(weights.stored_layers()) < spec.layers:
        metadata["layer_weights"] = ",".join(map(str, _layer_weights(weights)))
    if dense:
        metadata["dense"] = "+".join(f"{len(layer.bias)}:{layer.activation}" for layer in dense)
    write_safetensors(path, {**dict(_tensors(weights, plan)), **dict(_dense(dense))}, metadata)
    return [path]


def _pooling(name: str) -> str:
    """The engine knows no pooler: it is a dense layer on the first token."""
    spec = pooling_spec(name)
    return "+".join(spec.reductions) if spec.pooler else spec.name


def _layer_weights(weights: EncoderWeights) -> Iterator[int]:
    """The number of the stored layer that each layer uses."""
    numbers = {id(layer): number for number, layer in enumerate(weights.stored_layers())}
    return (numbers[id(layer)] for layer in weights.layers)


def _dense(layers: Sequence[Dense]) -> Tensors:
    for index, layer in enumerate(layers):
        yield f"dense.{index}", pack_floats(layer.weight)
        yield f"dense.{index}.bias", pad_outputs(layer.bias)


def _tensors(weights: EncoderWeights, plan: PrecisionPlan) -> Tensors:
    yield from plan.embeddings.tensors("word_embeddings", weights.word_embeddings)
    name = "position_embeddings"
    yield name, weights.position_embeddings.astype(plan.storage_of(name))
    yield from _norm("embedding_norm", weights.embedding_norm)
    if weights.relative_bias is not None:
        yield "relative_bias", weights.relative_bias
    if weights.embedding_projection is not None:
        yield from _linear(weights.embedding_projection, plan)
    for index, layer in enumerate(weights.stored_layers()):
        for linear in layer.linears():
            yield from _linear(linear, plan)
        yield from _norm(f"layer.{index}.attention_norm", layer.attention_norm)
        yield from _norm(f"layer.{index}.output_norm", layer.output_norm)


def _norm(name: str, norm: Norm) -> Tensors:
    yield f"{name}.gamma", norm.gamma
    yield f"{name}.beta", norm.beta


def _linear(linear: Linear, plan: PrecisionPlan) -> Tensors:
    quantized = plan.quantized.get(linear.name)
    if quantized is None:
        yield linear.name, pack_floats(linear.weight.astype(plan.storage_of(linear.name)))
        yield f"{linear.name}.bias", pad_outputs(linear.bias)
    else:
        yield from _quantized(quantized)


def _quantized(linear: QuantizedLinear) -> Tensors:
    """``sums`` is what a row's smallest value is multiplied by: see ``Int8Matrix`` in the kernels."""
    sums = linear.codes.sum(axis=0, dtype=np.int64) * linear.scales
    yield linear.name, pack_codes(linear.codes)
    yield f"{linear.name}.scales", pad_outputs(linear.scales)
    yield f"{linear.name}.sums", pad_outputs(sums.astype(np.float32))
    yield f"{linear.name}.bias", pad_outputs(linear.bias)
    if linear.smoothing is not None:
        yield f"{linear.name}.smoothing", linear.smoothing
