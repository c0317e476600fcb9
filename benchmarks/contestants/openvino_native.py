"""OpenVINO on the graph that torch.onnx writes, in float32 and in int8."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.contestants.base import Contestant, Place, mean_pool
from benchmarks.contestants.nncf_int8 import quantize
from benchmarks.contestants.onnxruntime_export import PaddedTokenizer, Plain, export_onnx
from benchmarks.workloads import corpus

__all__ = ["Fp32", "StaticInt8"]


class Fp32(Contestant):
    """Latency hint."""

    file: ClassVar[str] = "model.onnx"

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return Plain.prepare(checkpoint, folder)

    def __init__(self, model: Path, place: Place) -> None:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": place.threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Newer processors would silently compute in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._model = openvino.Core().compile_model(str(model / self.file), "CPU", settings)
        self._tokenizer = PaddedTokenizer(model)

    def encode(self, texts: list[str]) -> np.ndarray:
        pooled = []
        for ids, mask in self._tokenizer.batches(texts):
            states = self._model({"input_ids": ids, "attention_mask": mask})[0]
            pooled.append(mean_pool(states, mask))
        return np.concatenate(pooled)


class StaticInt8(Fp32):
    """NNCF's static quantization."""

    file = "model.xml"

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((checkpoint / name).read_bytes())
        tokenizer = PaddedTokenizer(folder)
        feeds = (
            {"input_ids": ids, "attention_mask": mask}
            for text in corpus(32)
            for ids, mask in tokenizer.batches([text])
        )
        quantize(export_onnx(checkpoint, folder), folder / cls.file, feeds)
        return folder
