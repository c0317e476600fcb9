"""Looking up tensors by name, with checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["Array", "ReadTensors", "TensorLookup", "Tensors", "refuse_unread"]

Array = npt.NDArray[np.float32]
Tensors = Mapping[str, Array]

_NORM_ALIASES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

_LAYER = re.compile(r".*?layers?\.\d+\.")
# Tables that PyTorch modules have saved among their weights, and that are computed from config.json.
_TABLES = ("inv_freq", "cos_cached", "sin_cached", "norm_factor")
_MOST_NAMED = 4


class ReadTensors(Mapping[str, Array]):
    """The tensors of a checkpoint; ``read`` has the names of those that were read."""

    def __init__(self, tensors: Tensors) -> None:
        """Take over ``tensors``, none of which counts as read."""
        self._tensors = tensors
        self.read: set[str] = set()

    @override
    def __getitem__(self, name: str) -> Array:
        found = self._tensors[name]
        self.read.add(name)
        return found

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    @override
    def __len__(self) -> int:
        return len(self._tensors)


def refuse_unread(tensors: ReadTensors, model_type: str) -> None:
    """Check that all tensors of each layer that was read were read.

    A layer with more tensors, such as those of an adapter, of experts or of another normalization, computes
    something else than the family's. What stands beside the layers is not checked: poolers, heads of other
    tasks, and layers beyond the depth in config.json.

    Raises:
        UnsupportedModelError: there are others; the message names some.
    """
    layers = {found[0] for found in map(_LAYER.match, tensors.read) if found}
    others = sorted(
        name
        for name in set(tensors) - tensors.read
        if (found := _LAYER.match(name)) and found[0] in layers and name.rsplit(".", 1)[-1] not in _TABLES
    )
    if others:
        more = ", …" if len(others) > _MOST_NAMED else ""
        raise UnsupportedModelError(
            f"the checkpoint's layers have tensors that those of a {model_type} model do not have, and so "
            f"compute something else: {', '.join(others[:_MOST_NAMED])}{more}"
        )


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
