"""Spellings of the encoder in operators."""

from m3e_export.graph.dialects.base import Dialect
from m3e_export.graph.dialects.onnxruntime import OnnxRuntimeDialect
from m3e_export.graph.dialects.standard import StandardDialect
from m3e_export.graph.dialects.tensorrt import TensorRtDialect

DIALECTS: dict[str, type[Dialect]] = {
    "onnxruntime": OnnxRuntimeDialect,
    "standard": StandardDialect,
    "tensorrt": TensorRtDialect,
}

__all__ = ["DIALECTS", "Dialect", "OnnxRuntimeDialect", "StandardDialect", "TensorRtDialect"]
