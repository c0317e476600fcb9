"""What comes behind the last layer: pooling, Dense modules, normalization.

Always in float32: it is small and decides much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from m3e_export.checkpoint.pooling import Dense, Reduction
from m3e_export.graph.builder import GraphBuilder
from m3e_export.graph.texts import Texts

__all__ = ["finish", "reduce_states"]

_MIN_NORM = 1e-12  # torch.nn.functional.normalize's eps


def reduce_states(texts: Texts, reductions: Sequence[Reduction], states: ir.Value) -> ir.Value:
    """The reductions of ``states`` side by side, float32 ``[texts, width]``."""
    parts = [texts.reduce(reduction, states) for reduction in reductions]
    return parts[0] if len(parts) == 1 else texts.builder.op("Concat", *parts, axis=1)


def finish(builder: GraphBuilder, sentence: ir.Value, layers: Sequence[Dense], normalize: bool) -> ir.Value:
    """The layers after the pooling, and normalization where asked for."""
    sentence = _dense(builder, sentence, layers)
    if not normalize:
        return sentence
    length = builder.reduce("ReduceL2", sentence, 1, keepdims=True)
    return builder.op("Div", sentence, builder.op("Max", length, builder.constant(_MIN_NORM, np.float32)))


def _dense(builder: GraphBuilder, sentence: ir.Value, layers: Sequence[Dense]) -> ir.Value:
    for index, layer in enumerate(layers):
        weight = builder.weight(f"dense.{index}.weight", layer.weight)
        sentence = builder.op("MatMul", sentence, weight)
        sentence = builder.op("Add", sentence, builder.weight(f"dense.{index}.bias", layer.bias))
        sentence = builder.op("Tanh", sentence) if layer.activation == "tanh" else sentence
    return sentence
