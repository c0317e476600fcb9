"""m3e-runtime on a GPU: an engine of TensorRT, or ONNX Runtime's CUDA kernels; one bundle each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants.base import Place
from benchmarks.contestants.ours import Ours
from m3e_runtime.gpu.tensorrt import EngineOptions


class _OnGpu(Ours):
    def __init__(self, model: Path, place: Place) -> None:
        from m3e_runtime import Encoder

        self._encoder = Encoder.load(model, device=place.device, artifact=f"{self.precision}-{self.target}")

    def details(self, texts: list[str]) -> dict[str, Any]:
        info = self._encoder.info
        return {"mix": info["mix"], "engine": info["engine"], "device": info["device"], "why": info["why"]}


class TensorRtFp16(_OnGpu):
    """An engine for the GPU at hand."""

    precision, target = "fp16", "tensorrt"


class TensorRtInt8(TensorRtFp16):
    """With 8-bit products."""

    precision = "int8"


class TensorRtRtxFp16(_OnGpu):
    """TensorRT for RTX, which compiles the last step when the engine is loaded."""

    precision, target = "fp16", "tensorrt-rtx"

    @classmethod
    def engine(cls) -> EngineOptions:
        from m3e_runtime.gpu.driver import find_gpu

        return EngineOptions(compute_capabilities=(find_gpu().compute_capability,))


class TensorRtRtxInt8(TensorRtRtxFp16):
    """With 8-bit products."""

    precision = "int8"


class CudaFp16(_OnGpu):
    """ONNX Runtime, texts padded to the longest."""

    precision, target = "fp16", "cuda"


class CudaPackedFp16(_OnGpu):
    """ONNX Runtime, no padding token computed."""

    precision, target = "fp16", "cuda-packed"
