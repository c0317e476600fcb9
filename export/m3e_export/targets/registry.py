"""The targets by name. A new target gets a module beside this one and an entry here."""

from __future__ import annotations

from m3e_export.graph.dialects import CudaDialect, CudaPackedDialect, OnnxRuntimeDialect, StandardDialect
from m3e_export.targets.base import Target
from m3e_export.targets.cuda import CudaTarget
from m3e_export.targets.native import NativeTarget
from m3e_export.targets.onnx import OnnxTarget
from m3e_export.targets.tensorrt import TensorRtTarget
from m3e_runtime.backends import native

__all__ = ["TARGETS", "default_targets"]

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


def default_targets() -> tuple[str, ...]:
    """The targets of a request that names none: native, where the engine is installed, and cpu."""
    return ("native", "cpu") if native.missing() is None else ("cpu",)
