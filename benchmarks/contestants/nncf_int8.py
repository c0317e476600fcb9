"""OpenVINO's static int8: NNCF's quantization, as users of sentence-transformers call it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["quantize"]

_CALIBRATION = 32
"""Inputs that the ranges of activations are taken from; few, because random weights mean nothing."""


def quantize(graph: Path, target: Path, inputs: Iterable[dict[str, np.ndarray]]) -> None:
    """Quantize weights and activations of an ONNX graph; write OpenVINO's xml and bin.

    The settings are those of ``sentence_transformers.export_static_quantized_openvino_model``: NNCF's own
    for transformers.

    Args:
        graph: the graph in float32.
        target: the xml file to write.
        inputs: feeds of the graph, one text in each.
    """
    import nncf
    import openvino

    some = list(itertools.islice(inputs, _CALIBRATION))
    quantized = nncf.quantize(
        openvino.Core().read_model(str(graph)),
        nncf.Dataset(some),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(some),
    )
    openvino.save_model(quantized, str(target), compress_to_fp16=False)
