"""The context of a GPU, and calls of the driver whose errors are exceptions."""

from __future__ import annotations

import functools
import weakref
from typing import Any

from m3e_runtime.errors import EngineMissingError, EngineRunError

__all__ = ["CudaContext"]


class CudaContext:
    """The primary context of a GPU: the one that TensorRT and ONNX Runtime use as well.

    The driver interface is called and not the runtime's: it is as new as the driver of the machine, whichever
    release the package was made for.
    """

    def __init__(self, index: int) -> None:
        """Take hold of GPU number ``index``.

        Raises:
            EngineMissingError: ``cuda-bindings`` or the driver is missing.
            EngineRunError: the driver refuses.
        """
        self._driver = _bindings()
        try:
            self.call("cuInit", 0)
        except RuntimeError as error:  # cuda-bindings finds no driver to load
            raise EngineMissingError(f"there is no NVIDIA driver here: {error}") from error
        device = self.call("cuDeviceGet", index)
        self._context = self.call("cuDevicePrimaryCtxRetain", device)
        self.close = weakref.finalize(self, self._driver.cuDevicePrimaryCtxRelease, device)

    def activate(self) -> None:
        """Make it the calling thread's context. Each thread has to, before any other call."""
        self.call("cuCtxSetCurrent", self._context)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call ``function`` of the driver; return what it gives.

        Raises:
            EngineRunError: anything but success, with the driver's name and words for it.
        """
        status, *values = getattr(self._driver, function)(*arguments)
        if status != self._driver.CUresult.CUDA_SUCCESS:
            _, words = self._driver.cuGetErrorString(status)
            text = words.decode() if words else "no words for it"
            raise EngineRunError(f"CUDA: {function} gives {status.name} ({text}).")
        return values[0] if values else None

    def constant(self, kind: str, name: str) -> Any:
        """A member of one of the driver's enumerations."""
        return getattr(getattr(self._driver, kind), name)

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that nobody uses."""
        status, free, _ = self._driver.cuMemGetInfo()
        return int(free) if status == self._driver.CUresult.CUDA_SUCCESS else 0


@functools.cache
def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise EngineMissingError(
            "the package cuda-bindings is missing: `pip install 'm3e-runtime[tensorrt]'` or [tensorrt-rtx]."
        ) from error
    return driver
