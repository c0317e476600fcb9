"""The layers after the pooling, in their order: the encoder's pooler, Dense, LayerNorm, Normalize.

A Normalize at the end is not among them: a layout says it by itself. Dropout does nothing outside training.
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
"""Of torch.nn.LayerNorm, which sentence-transformers' LayerNorm takes as it is."""

_MOST_LAYERS = 16  # as the native engine allows
_WIDEST = 1 << 20


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalization of a vector: scale and shift, float32 ``[width]``."""

    gamma: Array
    beta: Array


@dataclass(frozen=True)
class UnitLength:
    """A Normalize module that is not the last."""


HeadLayer = Dense | LayerNorm | UnitLength


def head_modules(modules: Sequence[tuple[str, Path]]) -> tuple[tuple[tuple[str, Path], ...], bool]:
    """The modules after Pooling that do something, without a last Normalize, and whether there is one.

    ``modules`` are kinds and folders. A Normalize after another changes nothing.
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
    """The layers after the pooling: the encoder's pooler where asked for, then the modules.

    Args:
        pooling: the pooling's name.
        modules: kinds and folders, as :func:`head_modules` gives them.
        hidden: width of the encoder's states.
        tensors: the encoder's tensors, the pooler's among them.

    Raises:
        CheckpointError: a tensor is missing, or not of the shape that config.json and the layer before say.
        UnsupportedModelError: an activation or a variant that is not known, named in the message; too many
            layers.
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
    """Length of a sentence vector: the last Dense layer after the pooling says it, or else the pooling."""
    dense = [layer for layer in head if isinstance(layer, Dense)]
    return len(dense[-1].bias) if dense else pooling_spec(pooling).width(hidden)


def _read_layer_norm(folder: Path, width: int) -> LayerNorm:
    file = folder / "config.json"
    found = read_size(file, read_object(file, required=True), "dimension", _WIDEST)
    if found != width:
        raise CheckpointError(f"{file}: dimension is {found}; what comes before gives {width} numbers.")
    lookup = TensorLookup(load_tensors(folder).arrays, "norm.weight")
    return LayerNorm(lookup.get("norm.weight", width), lookup.get("norm.bias", width))


_READ: dict[str, Callable[[Path, int], HeadLayer]] = {
    "Dense": read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": lambda _folder, _width: UnitLength(),
}


def module_kind(layer: HeadLayer) -> str:
    """What sentence-transformers calls the module of ``layer``."""
    return "Normalize" if isinstance(layer, UnitLength) else type(layer).__name__


def layer_config(layer: HeadLayer) -> dict[str, Any]:
    """Content of config.json of the module of ``layer``."""
    if isinstance(layer, Dense):
        return dense_config(layer)
    return {"dimension": len(layer.gamma)} if isinstance(layer, LayerNorm) else {}


def layer_tensors(layer: HeadLayer) -> dict[str, Array]:
    """The tensors of the module of ``layer``; none for one that has no weights."""
    if isinstance(layer, Dense):
        return {"linear.weight": np.ascontiguousarray(layer.weight.T), "linear.bias": layer.bias}
    return {"norm.weight": layer.gamma, "norm.bias": layer.beta} if isinstance(layer, LayerNorm) else {}
