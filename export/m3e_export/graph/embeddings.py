"""Looking up word embeddings. Only the rows in use are widened to float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from m3e_export.graph.builder import GraphBuilder
from m3e_export.precision.embeddings import EmbeddingFormat

__all__ = ["look_up"]


def look_up(
    builder: GraphBuilder,
    stored: EmbeddingFormat,
    name: str,
    table: npt.NDArray[np.float32],
    ids: ir.Value,
) -> ir.Value:
    """Rows of ``table`` (``[vocabulary, hidden]``) for ``ids``, float32 ``[*ids.shape, hidden]``."""
    tensors = dict(stored.tensors(name, table))
    scales = tensors.get(f"{name}.scales")
    if scales is None:
        rows = builder.op("Gather", builder.weight(name, tensors[name]), ids, axis=0)
        return rows if tensors[name].dtype == np.float32 else builder.op("Cast", rows, to=ir.DataType.FLOAT)
    codes = builder.op("Gather", builder.weight(f"{name}.codes", tensors[name]), ids, axis=0)
    row_scales = builder.op("Gather", builder.weight(f"{name}.scales", scales[:, None]), ids, axis=0)
    return builder.op("Mul", builder.op("Cast", codes, to=ir.DataType.FLOAT), row_scales)
