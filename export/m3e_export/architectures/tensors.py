"""Looking up tensors by name with the checks that every family needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.errors import CheckpointError

__all__ = ["TensorLookup", "positive_float", "positive_int"]

Array = npt.NDArray[np.float32]

_NORM_ALIASES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


class TensorLookup:
    """Tensors under the prefix that the training framework put before the family's own names."""

    def __init__(self, tensors: Mapping[str, Array], anchor: str) -> None:
        """Find the prefix: what stands before ``anchor``, a name that every checkpoint of the family has."""
        prefixes = [name[: -len(anchor)] for name in tensors if name.endswith(anchor)]
        if len(prefixes) != 1:
            found = "none" if not prefixes else f"{len(prefixes)} ({', '.join(sorted(prefixes))})"
            raise CheckpointError(f"the checkpoint must have one tensor ending in {anchor!r}; found {found}.")
        self._tensors = tensors
        self._prefix = prefixes[0]

    def get(self, name: str, *shape: int) -> Array:
        """The tensor ``name``, which must have ``shape`` and only finite values.

        Raises:
            CheckpointError: missing, of another shape, or with infinities or NaN.
        """
        full = self._prefix + name
        tensor = self._tensors.get(full)
        if tensor is None:
            tensor = self._tensors.get(_old_name(full))
        if tensor is None:
            raise CheckpointError(f"the checkpoint has no tensor {full!r}.")
        if tensor.shape != shape:
            raise CheckpointError(f"{full}: shape {tensor.shape}, config.json says {shape}.")
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{full}: holds NaN or infinite values.")
        return tensor


def _old_name(name: str) -> str:
    """TensorFlow's names for layer normalization, kept by the first PyTorch conversions."""
    for new, old in _NORM_ALIASES.items():
        if name.endswith(new):
            return name[: -len(new)] + old
    return name


def positive_int(config: Mapping[str, Any], key: str, limit: int = 1 << 24) -> int:
    """``config[key]`` as an integer between 1 and ``limit``.

    Raises:
        CheckpointError: missing, not an integer, or out of range.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise CheckpointError(f"config.json: {key} is {value!r}; an integer from 1 to {limit} was expected.")
    return value


def positive_float(config: Mapping[str, Any], key: str, default: float) -> float:
    """``config[key]``, or ``default`` where it is absent, as a finite float above zero.

    Raises:
        CheckpointError: not a number, or not above zero.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise CheckpointError(f"config.json: {key} is {value!r}; a number above zero was expected.")
    return float(value)
