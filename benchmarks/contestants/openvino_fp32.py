"""OpenVINO on the graph that torch.onnx writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.contestants.base import Contestant, Place, mean_pool
from benchmarks.contestants.onnxruntime_export import PaddedTokenizer, Plain


class OpenVino(Contestant):
    """Float32, latency hint."""

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
        self._model = openvino.Core().compile_model(str(model / "model.onnx"), "CPU", settings)
        self._tokenizer = PaddedTokenizer(model)

    def encode(self, texts: list[str]) -> np.ndarray:
        pooled = []
        for ids, mask in self._tokenizer.batches(texts):
            states = self._model({"input_ids": ids, "attention_mask": mask})[0]
            pooled.append(mean_pool(states, mask))
        return np.concatenate(pooled)
