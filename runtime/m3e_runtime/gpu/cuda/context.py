"""The context of a GPU, and calls to the driver, whose errors become exceptions."""

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
    """The primary context of a GPU, which TensorRT and ONNX Runtime use, too.

    It calls the driver interface and not the runtime's, because that always matches the machine's driver.
    """

    def __init__(self, index: int) -> None:
        """Retain the context of GPU number ``index``.

        Raises:
            EngineMissingError: ``cuda-bindings`` or the driver is missing.
            EngineRunError: the driver fails.
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
        """Make it the calling thread's context for the block.

        Raises:
            EngineRunError: this process is a fork of the one that retained the context.
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
        """Whether this process is a fork of the one that retained the context."""
        return os.getpid() != self._process

    def call(self, function: str, *arguments: Any) -> Any:
        """Call ``function`` of the driver and return its result.

        Raises:
            EngineRunError: the call fails, with the driver's name and description of the error.
        """
        status, *values = getattr(self._driver, function)(*arguments)
        if status != self._driver.CUresult.CUDA_SUCCESS:
            _, words = self._driver.cuGetErrorString(status)
            text = words.decode() if words else "no words for it"
            raise EngineRunError(f"CUDA: {function} gives {status.name} ({text}).")
        return values[0] if values else None

    def constant(self, kind: str, name: str) -> Any:
        """A member of an enumeration of the driver."""
        return getattr(getattr(self._driver, kind), name)

    def release(self, function: str, handle: Any) -> None:
        """Release ``handle`` by ``function``, from any thread. A forked process releases nothing."""
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
