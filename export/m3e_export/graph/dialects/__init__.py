"""Spellings of the encoder in operators."""

from m3e_export.graph.dialects.base import Dialect
from m3e_export.graph.dialects.cuda import CudaDialect, CudaPackedDialect
from m3e_export.graph.dialects.onnxruntime import OnnxRuntimeDialect
from m3e_export.graph.dialects.standard import StandardDialect
from m3e_export.graph.dialects.tensorrt import TensorRtDialect, TensorRtPackedDialect

__all__ = [
    "CudaDialect",
    "CudaPackedDialect",
    "Dialect",
    "OnnxRuntimeDialect",
    "StandardDialect",
    "TensorRtDialect",
    "TensorRtPackedDialect",
]
