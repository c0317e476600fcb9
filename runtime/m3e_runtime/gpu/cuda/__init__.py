"""The part of CUDA that running an engine needs, based on NVIDIA's ``cuda-bindings``."""

from m3e_runtime.gpu.cuda.context import CudaContext
from m3e_runtime.gpu.cuda.memory import DeviceMemory, PinnedArray
from m3e_runtime.gpu.cuda.stream import RecordedGraph, Stream

__all__ = ["CudaContext", "DeviceMemory", "PinnedArray", "RecordedGraph", "Stream"]
