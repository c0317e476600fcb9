"""Graphs for ONNX Runtime on CUDA."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import override

from m3e_export.graph.dialects import (
    Dialect,
)
from m3e_export.targets.onnx import OnnxTarget
from m3e_runtime.errors import OptionError

__all__ = ["CudaTarget"]


class CudaTarget(OnnxTarget):
    """A graph for ONNX Runtime on CUDA. The gate judges it, or its twin, on the CPU."""

    judged = "graph"

    def __init__(self, dialect: type[Dialect]) -> None:
        super().__init__("onnxruntime", dialect, half_arithmetic=True)

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """A separate folder: other tools look for graphs that run anywhere."""
        del first
        return folder / "gpu" / f"model_{name}.onnx"

    @override
    def check_precision(self, precision: str) -> None:
        if precision == "int8":
            raise OptionError(
                "int8 with ONNX Runtime on CUDA is slower than fp16, because integer operators run on the "
                "CPU: use --precision fp16, or --target tensorrt or tensorrt-rtx."
            )
