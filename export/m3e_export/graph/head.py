"""What follows the last layer: pooling, modules such as Dense, normalization.

It is always computed in float32: it is small and matters much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from m3e_export.checkpoint.head import LAYER_NORM_EPS, HeadLayer, LayerNorm, UnitLength
from m3e_export.checkpoint.pooling import Dense, Reduction
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.texts import Texts

__all__ = ["finish", "reduce_states"]

_MIN_NORM = 1e-12  # torch.nn.functional.normalize's eps


def reduce_states(texts: Texts, reductions: Sequence[Reduction], states: ir.Value) -> ir.Value:
    """The concatenated reductions of ``states``, float32 ``[texts, width]``."""
    parts = [texts.reduce(reduction, states) for reduction in reductions]
    return parts[0] if len(parts) == 1 else texts.builder.op("Concat", *parts, axis=1)


def finish(
    builder: GraphBuilder, sentence: ir.Value, layers: Sequence[HeadLayer], normalize: bool
) -> ir.Value:
    """Apply the layers after the pooling, and normalize if required."""
    for index, layer in enumerate(layers):
        sentence = _layer(builder, sentence, layer, f"dense.{index}")
    return _unit_length(builder, sentence) if normalize else sentence


def _unit_length(builder: GraphBuilder, sentence: ir.Value) -> ir.Value:
    length = builder.reduce("ReduceL2", sentence, 1, keepdims=True)
    return builder.op("Div", sentence, builder.op("Max", length, builder.constant(_MIN_NORM, np.float32)))


def _layer(builder: GraphBuilder, sentence: ir.Value, layer: HeadLayer, name: str) -> ir.Value:
    if isinstance(layer, UnitLength):
        return _unit_length(builder, sentence)
    if isinstance(layer, LayerNorm):
        return _layer_norm(builder, sentence, layer, name)
    product = builder.op("MatMul", sentence, builder.weight(f"{name}.weight", layer.weight))
    return _activated(builder, builder.op("Add", product, builder.weight(f"{name}.bias", layer.bias)), layer)


def _layer_norm(builder: GraphBuilder, x: ir.Value, layer: LayerNorm, name: str) -> ir.Value:
    """LayerNorm in basic operators: given graphs may have an opset below 17, LayerNormalization's."""
    centred = builder.op("Sub", x, builder.reduce("ReduceMean", x, 1, keepdims=True))
    variance = builder.reduce("ReduceMean", builder.op("Mul", centred, centred), 1, keepdims=True)
    raised = builder.op("Add", variance, builder.constant(LAYER_NORM_EPS, np.float32))
    scaled = builder.op("Div", centred, builder.op("Sqrt", raised))
    scaled = builder.op("Mul", scaled, builder.weight(f"{name}.gamma", layer.gamma))
    return builder.op("Add", scaled, builder.weight(f"{name}.beta", layer.beta))


def _activated(builder: GraphBuilder, x: ir.Value, layer: Dense) -> ir.Value:
    if layer.activation == "identity":
        return x
    if layer.activation == "silu":
        return builder.op("Mul", x, builder.op("Sigmoid", x))
    if layer.activation == "gelu":
        return _gelu(builder, x)
    return builder.op(_OPERATORS[layer.activation], x)


_OPERATORS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def _gelu(builder: GraphBuilder, x: ir.Value) -> ir.Value:
    """GELU by Erf: given graphs may have an opset below 20, Gelu's."""
    scaled = builder.op("Mul", x, builder.constant(math.sqrt(0.5), np.float32))
    above = builder.op("Add", builder.op("Erf", scaled), builder.constant(1.0, np.float32))
    return builder.op("Mul", builder.op("Mul", x, above), builder.constant(0.5, np.float32))
