"""Small encoders with random weights, in the neutral form: what came after BERT, one kind at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from m3e_export.architectures import (
    EncoderSpec,
    EncoderWeights,
    LayerAttention,
    LayerWeights,
    Linear,
    Norm,
)

__all__ = ["KINDS", "Kind", "alibi", "random_encoder", "rotary_table"]

_HIDDEN, _HEADS, _WIDE, _LAYERS = 72, 3, 90, 3
"""Multiples of nothing; the size of a head is 24."""

_LOCAL, _GLOBAL = LayerAttention(20, 33, rotary=1), LayerAttention(rotary=0)


@dataclass(frozen=True)
class Kind:
    """What an encoder has: changes of the description, and parts of the weights."""

    spec: dict[str, Any]
    rotary: int = 0  # columns of a head that are turned
    first_norm: bool = True
    embedding_norm: bool = True
    final_norm: bool = False
    query_key_norm: bool = False
    second_norm: bool = False
    alibi: bool = False
    options: dict[str, Any] = field(default_factory=dict)


_ROTARY = {"gated": True, "learned_positions": False}
KINDS = {
    "nomic": Kind(
        {**_ROTARY, "activation": "silu", "attention": (LayerAttention(rotary=0),) * _LAYERS}, rotary=24
    ),
    "modernbert": Kind(
        {**_ROTARY, "norm_first": True, "attention": (_GLOBAL, _LOCAL, _GLOBAL)},
        rotary=24,
        first_norm=False,
        final_norm=True,
    ),
    "eurobert": Kind(
        {
            **_ROTARY,
            "norm_first": True,
            "norm_kind": "rms",
            "activation": "silu",
            "attention": (LayerAttention(rotary=0),) * _LAYERS,
        },
        rotary=24,
        embedding_norm=False,
        final_norm=True,
    ),
    "jina": Kind(
        {"gated": True, "learned_positions": False}, alibi=True, query_key_norm=True, second_norm=True
    ),
    "causal, partly rotated": Kind(
        {
            "gated": True,
            "activation": "relu",
            "attention": (LayerAttention(after=0, rotary=0), LayerAttention(before=64), LayerAttention(0, 0)),
        },
        rotary=10,
        query_key_norm=True,
        second_norm=True,
    ),
}


def random_encoder(kind: str, positions: int = 512) -> tuple[EncoderSpec, EncoderWeights]:
    """The encoder of a name in :data:`KINDS`; the same weights for every ``positions``."""
    random, parts = np.random.default_rng(len(kind)), KINDS[kind]
    spec = EncoderSpec("test", _LAYERS, _HIDDEN, _HIDDEN, _HEADS, _WIDE, "gelu", 500, positions, 1e-5)
    spec = replace(spec, **parts.spec)

    def linear(name: str, inputs: int, outputs: int) -> Linear:
        weight = random.normal(0, 0.7 * inputs**-0.5, (inputs, outputs)).astype(np.float32)
        return Linear(name, weight, random.normal(0, 0.1, outputs).astype(np.float32))

    def norm(name: str, there: bool = True) -> Norm | None:
        gamma, beta = (
            (mean + 0.2 * random.standard_normal(_HIDDEN)).astype(np.float32) for mean in (1.0, 0.0)
        )
        return Norm(name, gamma, beta) if there else None

    def layer(index: int) -> LayerWeights:
        base = f"layer.{index}"
        output_norm = norm(f"{base}.output_norm")
        assert output_norm is not None
        return LayerWeights(
            linear(f"{base}.qkv", _HIDDEN, 3 * _HIDDEN),
            linear(f"{base}.attention_output", _HIDDEN, _HIDDEN),
            norm(f"{base}.attention_norm", parts.first_norm or index > 0),
            linear(f"{base}.intermediate", _HIDDEN, spec.feed_forward_outputs),
            linear(f"{base}.output", _WIDE, _HIDDEN),
            output_norm,
            norm(f"{base}.query_norm", parts.query_key_norm),
            norm(f"{base}.key_norm", parts.query_key_norm),
            norm(f"{base}.second_norm", parts.second_norm),
        )

    rows = positions if spec.learned_positions else 1
    tables = [rotary_table(positions, parts.rotary, base) for base in (10_000, 500)] if parts.rotary else []
    return spec, EncoderWeights(
        random.normal(0, 1, (spec.vocab_size, _HIDDEN)).astype(np.float32),
        np.random.default_rng(0).normal(0, 0.1, (rows, _HIDDEN)).astype(np.float32),
        norm("embedding_norm", parts.embedding_norm),
        tuple(map(layer, range(_LAYERS))),
        relative_bias=alibi(_HEADS, positions) if parts.alibi else None,
        rotary_tables=np.stack(tables) if tables else None,
        final_norm=norm("final_norm", parts.final_norm),
    )


def rotary_table(positions: int, dimensions: int, base: float) -> np.ndarray:
    """A row of :attr:`EncoderWeights.rotary_tables`: https://arxiv.org/abs/2104.09864."""
    angles = np.outer(np.arange(positions), base ** (-np.arange(0, dimensions, 2) / dimensions))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def alibi(heads: int, positions: int) -> np.ndarray:
    """Biases that grow with the distance: https://arxiv.org/abs/2108.12409."""
    distances = np.abs(np.arange(1 - positions, positions))
    return (-np.outer(2.0 ** -np.arange(1, heads + 1), distances)).astype(np.float32)
