"""The layers after the pooling in their order: the encoder's pooler, Dense, LayerNorm, Normalize.

A final Normalize is not a layer here: it is ``SentenceConfig.normalize``. Dropout only acts in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.tensors import TensorLookup, Tensors
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.pooling import (
    Dense,
    dense_config,
    pooler_layer,
    pooling_spec,
    read_dense,
    read_size,
)
from m3e_export.checkpoint.weights import load_tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = [
    "HEAD_MODULES",
    "LAYER_NORM_EPS",
    "HeadLayer",
    "LayerNorm",
    "UnitLength",
    "dimension_of",
    "head_modules",
    "layer_config",
    "layer_tensors",
    "module_kind",
    "read_head",
]

Array = npt.NDArray[np.float32]

HEAD_MODULES = ("Dense", "LayerNorm", "Dropout", "Normalize")
"""Modules of sentence-transformers that may follow Pooling, in any order."""

LAYER_NORM_EPS = 1e-5
"""The default of torch.nn.LayerNorm, which sentence-transformers' LayerNorm uses."""

_MOST_LAYERS = 16  # the limit of the native engine
_WIDEST = 1 << 20


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalization of a vector: scale and shift, float32 ``[width]``."""

    gamma: Array
    beta: Array


@dataclass(frozen=True)
class UnitLength:
    """A Normalize module before another layer."""


HeadLayer = Dense | LayerNorm | UnitLength


def head_modules(modules: Sequence[tuple[str, Path]]) -> tuple[tuple[tuple[str, Path], ...], bool]:
    """The effective modules after Pooling without a final Normalize, and whether there is a final Normalize.

    ``modules`` are kinds and folders. A Normalize after another has no effect.
    """
    kept: list[tuple[str, Path]] = []
    for module in modules:
        repeated = module[0] == "Normalize" and kept and kept[-1][0] == "Normalize"
        if module[0] != "Dropout" and not repeated:
            kept.append(module)
    normalize = bool(kept) and kept[-1][0] == "Normalize"
    return tuple(kept[:-1] if normalize else kept), normalize


def read_head(
    pooling: str, modules: Sequence[tuple[str, Path]], hidden: int, tensors: Tensors
) -> tuple[HeadLayer, ...]:
    """The layers after the pooling: the encoder's pooler if the pooling uses it, then the modules.

    Args:
        pooling: the name of the pooling.
        modules: kinds and folders from :func:`head_modules`.
        hidden: width of the encoder's states.
        tensors: the encoder's tensors, including the pooler's.

    Raises:
        CheckpointError: a tensor is missing, or its shape does not match config.json and the layer before.
        UnsupportedModelError: an activation or variant is not supported, or there are too many layers.
    """
    chosen = pooling_spec(pooling)
    found: list[HeadLayer] = [pooler_layer(hidden, tensors)] if chosen.pooler else []
    if len(found) + len(modules) > _MOST_LAYERS:
        raise UnsupportedModelError(
            f"modules.json: {len(modules)} modules after Pooling; at most {_MOST_LAYERS} are supported."
        )
    for kind, folder in modules:
        width = dimension_of(pooling, hidden, found)
        found.append(_READ[kind](folder, width))
    return tuple(found)


def dimension_of(pooling: str, hidden: int, head: Sequence[HeadLayer]) -> int:
    """The length of a sentence vector: the output of the last Dense layer, or of the pooling."""
    dense = [layer for layer in head if isinstance(layer, Dense)]
    return len(dense[-1].bias) if dense else pooling_spec(pooling).width(hidden)


def _read_layer_norm(folder: Path, width: int) -> LayerNorm:
    file = folder / "config.json"
    found = read_size(file, read_object(file, required=True), "dimension", _WIDEST)
    if found != width:
        raise CheckpointError(f"{file}: dimension is {found}; the layer before has {width} outputs.")
    lookup = TensorLookup(load_tensors(folder).arrays, "norm.weight")
    return LayerNorm(lookup.get("norm.weight", width), lookup.get("norm.bias", width))


_READ: dict[str, Callable[[Path, int], HeadLayer]] = {
    "Dense": read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": lambda _folder, _width: UnitLength(),
}


def module_kind(layer: HeadLayer) -> str:
    """The module's name in sentence-transformers."""
    return "Normalize" if isinstance(layer, UnitLength) else type(layer).__name__


def layer_config(layer: HeadLayer) -> dict[str, Any]:
    """The content of the module's config.json."""
    if isinstance(layer, Dense):
        return dense_config(layer)
    return {"dimension": len(layer.gamma)} if isinstance(layer, LayerNorm) else {}


def layer_tensors(layer: HeadLayer) -> dict[str, Array]:
    """The tensors of the module; empty for a module without weights."""
    if isinstance(layer, Dense):
        return {"linear.weight": np.ascontiguousarray(layer.weight.T), "linear.bias": layer.bias}
    return {"norm.weight": layer.gamma, "norm.bias": layer.beta} if isinstance(layer, LayerNorm) else {}
