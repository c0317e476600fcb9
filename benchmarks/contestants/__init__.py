"""Ways to turn texts into vectors. Each runs in a process of its own and imports only what it needs."""

from __future__ import annotations

import importlib

from benchmarks.contestants.base import Contestant, Place

__all__ = [
    "BASELINE",
    "CONTESTANTS",
    "GPU_BASELINE",
    "GPU_CONTESTANTS",
    "GPU_REFERENCE",
    "RERANK_BASELINE",
    "RERANK_CONTESTANTS",
    "Contestant",
    "Place",
    "load",
]

BASELINE = "sentence-transformers"
CONTESTANTS = {
    "ours-int8": "ours:NativeInt8",
    "ours-fp32": "ours:NativeFp32",
    "ours-fp16": "ours:NativeFp16",
    "ours-int8-onnxruntime": "ours:OnnxRuntimeInt8",
    "ours-fp32-onnxruntime": "ours:OnnxRuntimeFp32",
    "stock-int8-on-our-graph": "ours:StockInt8",
    BASELINE: "torch_padded:Fp32",
    "onnxruntime-export": "onnxruntime_export:Plain",
    "onnxruntime-dynamic-int8": "onnxruntime_export:DynamicInt8",
    "ctranslate2-int8": "ctranslate2_int8:CTranslate2Int8",
    "openvino-fp32": "openvino_export:Fp32",
    "openvino-nncf-int8": "openvino_export:StaticInt8",
}
"""Name → module and class."""

GPU_BASELINE = "sentence-transformers-fp16"
GPU_REFERENCE = "sentence-transformers-fp32"
GPU_CONTESTANTS = {
    "ours-tensorrt-fp16": "ours_gpu:TensorRtFp16",
    "ours-tensorrt-int8": "ours_gpu:TensorRtInt8",
    "ours-tensorrt-rtx-fp16": "ours_gpu:TensorRtRtxFp16",
    "ours-tensorrt-rtx-int8": "ours_gpu:TensorRtRtxInt8",
    "ours-cuda-fp16": "ours_gpu:CudaFp16",
    "ours-cuda-packed-fp16": "ours_gpu:CudaPackedFp16",
    GPU_REFERENCE: "torch_padded:Fp32",
    GPU_BASELINE: "torch_padded:Fp16",
    "sentence-transformers-bf16": "torch_padded:Bf16",
    "sentence-transformers-fp16-compiled": "torch_padded:CompiledFp16",
    "sentence-transformers-fp16-flash": "torch_padded:FlashFp16",
    "torch-fp16-unpadded": "torch_unpadded:Fp16",
    "torch-fp16-unpadded-compiled": "torch_unpadded:CompiledFp16",
}
"""The same for a GPU; correctness is measured against the reference, ratios are to the baseline."""


RERANK_BASELINE = "cross-encoder-torch"
RERANK_CONTESTANTS = {
    "ours-reranker-int8": "rerankers:Int8",
    "ours-reranker-fp32": "rerankers:Fp32",
    RERANK_BASELINE: "rerankers:CrossEncoderTorch",
    "cross-encoder-onnx": "rerankers:CrossEncoderOnnx",
    "cross-encoder-openvino": "rerankers:CrossEncoderOpenVino",
    "fastembed": "rerankers:FastEmbed",
    "exported-onnxruntime": "rerankers:OnnxExport",
    "exported-onnxruntime-int8": "rerankers:DynamicInt8",
    "exported-openvino": "rerankers:OpenVino",
    "exported-openvino-nncf-int8": "rerankers:OpenVinoInt8",
}
"""The same for rerankers."""


def load(name: str) -> type[Contestant]:
    """Import the class of a contestant."""
    module, kind = {**CONTESTANTS, **GPU_CONTESTANTS, **RERANK_CONTESTANTS}[name].split(":")
    found: type[Contestant] = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), kind)
    return found
