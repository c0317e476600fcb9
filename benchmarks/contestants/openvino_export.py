"""OpenVINO on the graph that torch.onnx writes, in float32 and in int8."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.contestants.base import Contestant, Place, mean_pool
from benchmarks.contestants.onnxruntime_export import PaddedTokenizer, Plain, copy_tokenizer, export_onnx
from benchmarks.workloads import corpus

__all__ = ["Fp32", "StaticInt8", "compile_graph", "quantize"]

_CALIBRATION = 32
"""Texts that the ranges of activations are taken from; few, because random weights mean nothing."""


class Fp32(Contestant):
    """Float32, latency hint."""

    file: ClassVar[str] = "model.onnx"

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return Plain.prepare(checkpoint, folder)

    def __init__(self, model: Path, place: Place) -> None:
        self._model = compile_graph(model / self.file, place)
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
        copy_tokenizer(checkpoint, folder)
        tokenizer = PaddedTokenizer(folder)
        feeds = (
            {"input_ids": ids, "attention_mask": mask}
            for text in corpus(_CALIBRATION)
            for ids, mask in tokenizer.batches([text])
        )
        quantize(export_onnx(checkpoint, folder), folder / cls.file, feeds)
        return folder


def compile_graph(graph: Path, place: Place) -> Any:
    """OpenVINO's compiled model, for one call at a time."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": place.threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Newer processors would silently compute in bfloat16.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return openvino.Core().compile_model(str(graph), "CPU", settings)


def quantize(graph: Path, target: Path, inputs: Iterable[dict[str, np.ndarray]]) -> None:
    """Quantize weights and activations of an ONNX graph; write OpenVINO's xml and bin.

    The settings are those of ``sentence_transformers.export_static_quantized_openvino_model``: NNCF's own
    for transformers.

    Args:
        graph: the graph in float32.
        target: the xml file to write.
        inputs: feeds of the graph, which the ranges of activations are taken from.
    """
    import nncf
    import openvino

    feeds = list(inputs)
    quantized = nncf.quantize(
        openvino.Core().read_model(str(graph)),
        nncf.Dataset(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    openvino.save_model(quantized, str(target), compress_to_fp16=False)
