"""The targets of an export: each is an engine that artifacts are written for, with what judges them here."""

from m3e_export.graph.dialects import CudaDialect, CudaPackedDialect, OnnxRuntimeDialect, StandardDialect
from m3e_export.targets.base import Target
from m3e_export.targets.cuda import CudaTarget
from m3e_export.targets.native import NativeTarget
from m3e_export.targets.onnx import OnnxTarget
from m3e_export.targets.tensorrt import TensorRtTarget

__all__ = ["TARGETS", "Target"]

TARGETS: dict[str, Target] = {
    "native": NativeTarget(),
    "cpu": OnnxTarget("onnxruntime", OnnxRuntimeDialect, half_arithmetic=False),
    "portable": OnnxTarget("standard", StandardDialect, half_arithmetic=True),
    "cuda": CudaTarget(CudaDialect),
    "cuda-packed": CudaTarget(CudaPackedDialect),
    "tensorrt": TensorRtTarget("tensorrt"),
    "tensorrt-rtx": TensorRtTarget("tensorrt_rtx"),
}
"""By the names that ``--target`` takes."""
