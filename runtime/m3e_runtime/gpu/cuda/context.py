"""The context of a GPU, and calls of the driver whose errors are exceptions."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._process = os.getpid()
        try:
            self.call("cuInit", 0)
        except RuntimeError as error:  # cuda-bindings finds no driver to load
            raise EngineMissingError(f"there is no NVIDIA driver here: {error}") from error
        device = self.call("cuDeviceGet", index)
        self._context = self.call("cuDevicePrimaryCtxRetain", device)
        self.close = weakref.finalize(self, self._driver.cuDevicePrimaryCtxRelease, device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have it as the calling thread's context; afterwards the thread has what it had before.

        Raises:
            EngineRunError: this process was forked off the one that took hold of the GPU.
        """
        if self.forked:
            raise EngineRunError("a GPU cannot be used in a process forked off: load the encoder there.")
        self.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent")

    @property
    def forked(self) -> bool:
        """Whether this is another process than the one that took hold of the GPU."""
        return os.getpid() != self._process

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

    def release(self, function: str, handle: Any) -> None:
        """Give ``handle`` back by ``function``, from any thread; a forked process has nothing to give."""
        if not self.forked:
            with self.active():
                self.call(function, handle)


@functools.cache
def _bindings() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise EngineMissingError(
            "the package cuda-bindings is missing: `pip install 'm3e-runtime[tensorrt]'` or [tensorrt-rtx]."
        ) from error
    return driver
