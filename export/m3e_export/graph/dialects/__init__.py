"""Dialects: the operators that spell the encoder.

:mod:`base` holds what all share and calls the abstract methods; :mod:`standard` is the simplest dialect.
:mod:`onnxruntime` and :mod:`cuda` use fused operators, :mod:`packed` and :mod:`tensorrt` others.
:mod:`rowwise` writes int8 products. A new dialect is a module here and a target in
:mod:`m3e_export.targets.registry`.
"""

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
