"""m3e-runtime on a GPU: an engine of TensorRT, or ONNX Runtime's CUDA kernels; one bundle each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants.base import Place
from benchmarks.contestants.ours import Ours
from m3e_runtime.backends.choice import TARGET_ORDER
from m3e_runtime.gpu.tensorrt import EngineOptions

__all__ = [
    "CudaFp16",
    "CudaPackedFp16",
    "TensorRtFp16",
    "TensorRtInt8",
    "TensorRtRtxFp16",
    "TensorRtRtxInt8",
    "automatic_contestant",
]


def automatic_contestant() -> str:
    """Which contestant ``device="auto"`` stands for, if a bundle has both graphs for ONNX Runtime on CUDA."""
    return f"ours-{min(('cuda', 'cuda-packed'), key=TARGET_ORDER.index)}-fp16"


class _OnGpu(Ours):
    def __init__(self, model: Path, place: Place) -> None:
        from m3e_runtime import Encoder

        del place  # a rehearsal on the CPU has no GPU for it, or a simulated one
        self._encoder = Encoder.load(model, device="cuda", artifact=f"{self.precision}-{self.target}")

    def details(self, texts: list[str]) -> dict[str, Any]:
        """What runs, and whether runs are recorded: ``recordings`` are the sizes so far, None if unknown."""
        del texts
        info, backend = self._encoder.info, self._encoder._backend
        told = ("artifact", "mix", "engine", "device", "why", "tokenizer", "native_engine")
        return {
            **{name: info[name] for name in told},
            "records": getattr(backend, "records", None),
            "recordings": getattr(backend, "recordings", None),
        }


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
