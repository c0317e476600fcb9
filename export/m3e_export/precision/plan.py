"""The format of every weight, and the arithmetic between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m3e_export.precision.embeddings import EmbeddingFormat, FloatEmbeddings
from m3e_export.precision.int8 import QuantizedLinear
from m3e_runtime.manifest import Precision

__all__ = ["PrecisionPlan"]


@dataclass(frozen=True)
class PrecisionPlan:
    """The formats of all weights.

    ``storage`` is the dtype of float matrices in the file, ``compute`` that of the arithmetic. ``quantized``
    maps names of matrices to their int8 form; all others stay float. ``wide`` names matrices and tables that
    half precision cannot hold: they are stored in float32, and their layers are computed in float32.
    """

    storage: Any = np.float32
    compute: Any = np.float32
    embeddings: EmbeddingFormat = field(default_factory=FloatEmbeddings)
    quantized: Mapping[str, QuantizedLinear] = field(default_factory=dict)

    wide: frozenset[str] = frozenset()

    bfloat16: bool = False
    """Whether the native engine rounds the inputs of float16 matrices to bfloat16. The weights are rounded
    too: a float16 that bfloat16 holds exactly is stored."""

    def storage_of(self, name: str) -> Any:
        """The dtype of the float matrix or table ``name`` in the file."""
        return np.float32 if name in self.wide else self.storage

    def compute_of(self, names: Iterable[str]) -> Any:
        """The dtype of the arithmetic between the matrices and tables ``names``."""
        return np.float32 if self.wide.intersection(names) else self.compute

    def kept(self, precision: Precision, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the matrices ``names`` that are stored above ``precision``, for the manifest."""
        if precision == "int8":
            return tuple(name for name in names if name not in self.quantized)
        return tuple(name for name in names if name in self.wide)

    def mix(self, names: Iterable[str]) -> dict[str, int]:
        """Number of the matrices ``names`` in each format, for the manifest."""
        found = Counter(
            "int8" if name in self.quantized else np.dtype(self.storage_of(name)).name for name in names
        )
        return {kind: found[kind] for kind in ("int8", "float16", "float32") if found[kind]}
