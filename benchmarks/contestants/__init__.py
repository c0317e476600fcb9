"""Ways to turn texts into vectors. Each runs in a process of its own and imports only what it needs."""

from __future__ import annotations

import importlib

__all__ = ["BASELINE", "CONTESTANTS", "Contestant", "load"]

from benchmarks.contestants.base import Contestant

BASELINE = "sentence-transformers"
CONTESTANTS = {
    "ours-int8": "ours:NativeInt8",
    "ours-fp32": "ours:NativeFp32",
    "ours-fp16": "ours:NativeFp16",
    "ours-int8-onnxruntime": "ours:OnnxRuntimeInt8",
    "ours-fp32-onnxruntime": "ours:OnnxRuntimeFp32",
    "stock-int8-on-our-graph": "ours:StockInt8",
    BASELINE: "torch_fp32:SentenceTransformers",
    "onnxruntime-export": "onnxruntime_export:Plain",
    "onnxruntime-dynamic-int8": "onnxruntime_export:DynamicInt8",
    "ctranslate2-int8": "ctranslate2_int8:CTranslate2Int8",
    "openvino-fp32": "openvino_fp32:OpenVino",
}
"""Name → module and class."""


def load(name: str) -> type[Contestant]:
    """Import the class of a contestant."""
    module, kind = CONTESTANTS[name].split(":")
    found: type[Contestant] = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), kind)
    return found
