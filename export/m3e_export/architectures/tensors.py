"""Looking up tensors by name, with checks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from m3e_export.errors import CheckpointError

__all__ = ["Array", "TensorLookup", "Tensors"]

Array = npt.NDArray[np.float32]
Tensors = Mapping[str, Array]

_NORM_ALIASES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


class TensorLookup:
    """Tensors by the family's names, whatever prefix the training framework has put before them."""

    def __init__(self, tensors: Tensors, anchor: str) -> None:
        """Find the prefix: what precedes ``anchor``, a name that every checkpoint of the family has."""
        prefixes = [name[: -len(anchor)] for name in tensors if name.endswith(anchor)]
        if len(prefixes) != 1:
            found = "none" if not prefixes else f"{len(prefixes)} ({', '.join(sorted(prefixes))})"
            raise CheckpointError(f"the checkpoint must have one tensor ending in {anchor!r}; found {found}.")
        self._tensors = tensors
        self._prefix = prefixes[0]

    def has(self, name: str) -> bool:
        """Whether there is a tensor ``name``."""
        return self._prefix + name in self._tensors

    def rows(self, name: str, hidden: int) -> Array:
        """The table ``name``, ``[rows, hidden]``, with any number of rows but none.

        Raises:
            CheckpointError: missing, empty, of another width, or not finite.
        """
        found = self._tensors.get(self._prefix + name)
        count = len(found) if found is not None and found.ndim else 1
        if not count:
            raise CheckpointError(f"{self._prefix}{name}: has no rows.")
        return self.get(name, count, hidden)

    def get(self, name: str, *shape: int) -> Array:
        """The tensor ``name``, which must have ``shape`` and finite values.

        Raises:
            CheckpointError: missing, of another shape, or not finite.
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
    """The name from TensorFlow that early PyTorch conversions kept."""
    for new, old in _NORM_ALIASES.items():
        if name.endswith(new):
            return name[: -len(new)] + old
    return name
