"""How each weight is stored and computed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.precision.embeddings import FloatEmbeddings
from m3e_export.precision.int8 import QuantizedLinear

if TYPE_CHECKING:
    from m3e_export.graph.builder import GraphBuilder

__all__ = ["EmbeddingFormat", "PrecisionPlan"]


class EmbeddingFormat(Protocol):
    """A way to store the word embeddings and look rows up."""

    def lookup(
        self, builder: GraphBuilder, name: str, table: npt.NDArray[np.float32], ids: ir.Value
    ) -> ir.Value:
        """Rows of ``table`` (``[vocabulary, hidden]``) for ``ids``, float32 ``[*ids.shape, hidden]``."""
        ...

    def tensors(self, name: str, table: npt.NDArray[np.float32]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """The table and what belongs to it, named, as the native engine stores them."""
        ...


@dataclass(frozen=True)
class PrecisionPlan:
    """Formats of all weights.

    ``storage`` is the dtype of float matrices in the file, ``compute`` that of the arithmetic between
    them; ``quantized`` maps the names of matrices to their int8 form, all others stay float.
    """

    storage: Any = np.float32
    compute: Any = np.float32
    embeddings: EmbeddingFormat = field(default_factory=FloatEmbeddings)
    quantized: Mapping[str, QuantizedLinear] = field(default_factory=dict)

    def mix(self, matrices: int) -> dict[str, int]:
        """Number of matrices in each format, for the manifest."""
        count = {"int8": len(self.quantized), np.dtype(self.storage).name: matrices - len(self.quantized)}
        return {name: number for name, number in count.items() if number}
