"""Writing a model to disk: one file, or external weights beyond the limit of protobuf."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

__all__ = ["save_model"]

_PROTOBUF_LIMIT = 1_800_000_000  # protobuf's limit is 2 GiB; this leaves room for the nodes


def save_model(model: ir.Model, path: Path) -> list[Path]:
    """Save ``model`` to ``path``; return the files, the model first."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if size <= _PROTOBUF_LIMIT:
        ir.save(model, path)
        return [path]
    data = path.with_name(path.name + "_data")
    ir.save(model, path, external_data=data.name)
    return [path, data]
