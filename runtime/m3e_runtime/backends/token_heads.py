"""The linear layers of bge-m3 in numpy, for engines that give the states of tokens only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import BundleError
from m3e_runtime.outputs import normalize
from m3e_runtime.token_outputs import TokenResult

__all__ = ["HEADS_FILE", "NumpyTokenHeads"]

HEADS_FILE = "token_heads.npz"
"""Beside the graphs. Its arrays are ``sparse`` and ``multi_vector``, float32 ``[hidden + 1, outputs]`` with
the bias as the last row, and ``unit_length``, a bool."""

Array = npt.NDArray[np.float32]


class NumpyTokenHeads:
    """Computes outputs of one text at a time, so that they do not depend on the texts beside it."""

    def __init__(self, file: Path) -> None:
        """Read the layers.

        Raises:
            BundleError: the file is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as arrays:
                self._sparse, self._vectors = _layer(arrays, "sparse"), _layer(arrays, "multi_vector")
                self._unit_length = bool(arrays["unit_length"])
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(f"{file}: cannot be read ({error}); export the bundle again.") from error

    def __call__(self, states: Array, weights: bool, vectors: bool) -> TokenResult:
        """The outputs for the states of a text, float32 ``[tokens, hidden]``."""
        found = given = None
        if weights and self._sparse is not None:
            found = np.maximum(_linear(self._sparse, states)[:, 0], np.float32(0))
        if vectors and self._vectors is not None:
            given = _linear(self._vectors, states)
            given = normalize(given) if self._unit_length else given
        return TokenResult(found, given)


def _layer(arrays: Any, name: str) -> Array | None:
    if name not in arrays:
        return None
    layer: Array = arrays[name]
    if layer.dtype != np.float32 or layer.ndim != 2 or len(layer) < 2 or not layer.shape[1]:
        raise ValueError(f"{name} is {layer.dtype} {layer.shape}")
    return layer


def _linear(layer: Array, states: Array) -> Array:
    product: Array = states @ layer[:-1] + layer[-1]
    return product
