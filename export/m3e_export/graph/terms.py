"""The weights of terms in a graph: the head of a masked language model, and the largest logit of each text.

Logits of all tokens and terms would be large. The vocabulary is divided, so that no more than those of
:data:`TERMS_TOGETHER` terms are in memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.architectures import Linear
from m3e_export.checkpoint.splade import TermHead
from m3e_export.errors import UnsupportedModelError
from m3e_export.graph.dialects.base import Dialect
from m3e_export.graph.texts import PaddedTexts
from m3e_export.precision.activations import SymmetricCodes
from m3e_export.precision.int8 import QuantizedLinear, quantize_linear

__all__ = ["TERMS_TOGETHER", "term_weights"]

TERMS_TOGETHER = 4096
"""Terms of a part of the vocabulary: with 2048 tokens, 32 MB of logits."""

Array = npt.NDArray[np.float32]


def term_weights(dialect: Dialect, states: ir.Value, head: TermHead) -> ir.Value:
    """The weight of each term in each text, float32 ``[batch, vocabulary]``.

    The arithmetic is float32. The decoder is int8 if the encoder is.

    Args:
        dialect: spells the operators. Its texts are padded.
        states: of the last layer, float32 ``[batch, length, hidden]``.
        head: what follows the encoder.

    Raises:
        UnsupportedModelError: the texts are packed.
    """
    op, const, texts = dialect.builder.op, dialect.builder.constant, dialect.texts
    if not isinstance(texts, PaddedTexts):
        raise UnsupportedModelError("weights of terms are not supported in packed batches.")
    dialect.compute = np.float32
    flat = op("Reshape", _without_padding(texts, states), const([-1, dialect.spec.hidden], np.int64))
    activated = dialect.activated(op("Add", *dialect.linear(flat, head.transform)), head.activation)
    normed = dialect.norm(activated, head.norm)
    largest, bias = _largest(dialect, normed, head.decoder)
    found = op("Relu", op("Add", largest, dialect.builder.weight("term_decoder.bias", bias)))
    for _ in range(head.logarithms):
        found = op("Log", op("Add", found, const(1.0, np.float32)))
    return found


def _without_padding(texts: PaddedTexts, states: ir.Value) -> ir.Value:
    """The states with that of a text's first token in place of padding, which does not change a maximum."""
    op, const = texts.builder.op, texts.builder.constant
    token = op("Unsqueeze", op("Cast", texts.mask, to=ir.DataType.BOOL), const([2], np.int64))
    return op("Where", token, states, op("Gather", states, const([0], np.int64), axis=1))


def _largest(dialect: Dialect, flat: ir.Value, decoder: Linear) -> tuple[ir.Value, Array]:
    """The largest product of a text's tokens with each term, ``[batch, vocabulary]``, and the bias to add."""
    op, parts, bias = dialect.builder.op, [], decoder.bias
    if dialect.plan.quantized:
        quantized = quantize_linear(decoder, together=SymmetricCodes.together)
        bias = quantized.bias
        products = [(dialect.quantized_product(flat, part), part.scales) for part in _split(quantized)]
    else:
        products = [
            (op("MatMul", flat, dialect.parameter(f"{decoder.name}.{start}.weight", weight)), weight[0])
            for start, weight in _columns(decoder.weight)
        ]
    for product, terms in products:
        of_texts = op("Reshape", product, dialect.texts.split(len(terms)))
        parts.append(dialect.builder.reduce("ReduceMax", of_texts, 1, keepdims=False))
    return (parts[0] if len(parts) == 1 else op("Concat", *parts, axis=1)), bias


def _columns(weight: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """The parts of a matrix for some terms each, and their first term."""
    for start in range(0, weight.shape[-1], TERMS_TOGETHER):
        yield start, weight[..., start : start + TERMS_TOGETHER]


def _split(whole: QuantizedLinear) -> Iterator[QuantizedLinear]:
    for start, codes in _columns(whole.codes):
        some = slice(start, start + TERMS_TOGETHER)
        yield dataclasses.replace(
            whole,
            name=f"{whole.name}.{start}",
            codes=codes,
            scales=whole.scales[some],
            bias=whole.bias[some],
        )
