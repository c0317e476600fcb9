"""m3e-runtime: each precision on the native engine and on ONNX Runtime, one bundle each."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.contestants.base import Contestant, Place
from benchmarks.machine import has_vnni
from benchmarks.workloads import corpus
from m3e_runtime.gpu.tensorrt import EngineOptions

_ROUNDS = 300


class Ours(Contestant):
    """One precision for one target."""

    precision: ClassVar[str]
    target: ClassVar[str]
    verify: ClassVar[bool] = True

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        from m3e_export import ExportRequest, export

        # Random weights hardly rank, so int8 is judged and recorded but not refused: every matrix stays
        # int8, which is also the mix that the real MiniLM passes the gate with.
        folder.mkdir(parents=True, exist_ok=True)
        calibration = folder / "calibration.txt"
        calibration.write_text("\n".join(corpus(24)), encoding="utf-8")  # few: the weights mean nothing
        request = ExportRequest(
            str(checkpoint),
            folder / "bundle",
            calibration=calibration,
            precisions=(cls.precision,),
            targets=(cls.target,),
            gate="off",
            oracle="numpy",
            engine=cls.engine(),
            force=True,
        )
        return export(request).path

    @classmethod
    def engine(cls) -> EngineOptions:
        """What an engine of TensorRT is built for."""
        return EngineOptions()

    def __init__(self, model: Path, place: Place) -> None:
        from m3e_runtime import Encoder

        self._encoder = Encoder.load(model, threads=place.threads, verify=self.verify)

    def encode(self, texts: list[str]) -> np.ndarray:
        return self._encoder.encode(texts if len(texts) > 1 else texts[0], show_progress_bar=False).reshape(
            len(texts), -1
        )

    def details(self, texts: list[str]) -> dict[str, Any]:
        return {
            "padding_share": self._padding_share(texts),
            "mix": dict(self._encoder.artifact.mix),
            "instruction_set": self._encoder.info["instruction_set"],
            "python_overhead_us": self._overhead(texts[0][:10]),
        }

    def _padding_share(self, texts: list[str]) -> float:
        lengths = np.array([len(ids) for ids in self._encoder.tokenizer.encode_batch(texts)])
        computed = sum(batch.tokens for batch in self._encoder.plan(lengths))
        return float(1 - lengths.sum() / computed)

    def _overhead(self, query: str) -> float:
        """Median of the differences between encode() and the bare engine call, run in turn."""
        ids = [self._encoder.tokenizer.encode(query)]
        differences = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            self._encoder.encode(query)
            middle = time.perf_counter()
            self._encoder._backend.run(ids)
            differences.append((middle - start) - (time.perf_counter() - middle))
        return statistics.median(differences) * 1e6


class NativeInt8(Ours):
    """Integer products."""

    precision, target = "int8", "native"


class NativeFp32(Ours):
    """Float32."""

    precision, target = "fp32", "native"


class NativeFp16(Ours):
    """Weights in half precision, arithmetic in float32."""

    precision, target = "fp16", "native"


class OnnxRuntimeInt8(Ours):
    """Our int8 graph on ONNX Runtime, the second engine."""

    precision, target = "int8", "cpu"


class OnnxRuntimeFp32(Ours):
    """Our fused graph on ONNX Runtime in float32."""

    precision, target = "fp32", "cpu"


class StockInt8(OnnxRuntimeFp32):
    """ONNX Runtime's own dynamic quantization of our fused graph: the fastest stock int8 that we know."""

    verify = False  # the graph is no longer the one in the manifest

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        bundle = super().prepare(checkpoint, folder)
        (graph,) = bundle.rglob("*.onnx")
        quantize_dynamic(
            graph,
            graph,
            op_types_to_quantize=["MatMul"],
            reduce_range=not has_vnni(),
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
        for weights in graph.parent.glob(graph.name + ".*"):
            weights.unlink()
        return bundle
