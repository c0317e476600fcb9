"""Memory of the GPU, and pinned memory of the host."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.gpu.cuda.context import CudaContext

__all__ = ["DeviceMemory", "PinnedArray"]


class DeviceMemory:
    """Bytes on the GPU, freed by :meth:`close` or at garbage collection."""

    def __init__(self, cuda: CudaContext, size: int) -> None:
        """Allocate ``size`` bytes; 0 allocates nothing.

        Raises:
            EngineRunError: the GPU has not enough free memory.
        """
        self.size = size
        pointer = cuda.call("cuMemAlloc", size) if size else 0
        self.address = int(pointer)
        self.close = weakref.finalize(self, cuda.release, "cuMemFree", pointer) if size else _nothing


class PinnedArray:
    """A host array in pinned memory, so that copies are asynchronous."""

    def __init__(self, cuda: CudaContext, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
        """Allocate an array of ``shape`` and ``dtype``; its content is arbitrary."""
        count = math.prod(shape)
        kind: np.dtype[Any] = np.dtype(dtype)
        pointer = cuda.call("cuMemHostAlloc", max(1, count * kind.itemsize), 0)
        self.address = int(pointer)
        self.size = count * kind.itemsize
        raw = memoryview((ctypes.c_byte * self.size).from_address(self.address)).cast("B")
        self.array: npt.NDArray[Any] = np.frombuffer(raw, dtype=kind, count=count).reshape(shape)
        self.close = weakref.finalize(self, cuda.release, "cuMemFreeHost", pointer)


def _nothing() -> None:
    """Frees an empty allocation."""
