"""Memory of the GPU, and memory of the host that the GPU can reach by itself."""

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
    """Bytes on the GPU, given back by :meth:`close` or when nobody holds them."""

    def __init__(self, cuda: CudaContext, size: int) -> None:
        """Allocate ``size`` bytes; none are held where ``size`` is 0.

        Raises:
            EngineRunError: the GPU has not that much memory left.
        """
        self.size = size
        pointer = cuda.call("cuMemAlloc", size) if size else 0
        self.address = int(pointer)
        self.close = weakref.finalize(self, cuda.release, "cuMemFree", pointer) if size else _nothing


class PinnedArray:
    """An array of the host in memory that is never paged out, so that copies need not wait for the host."""

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
    """What there is to give back of no bytes."""
