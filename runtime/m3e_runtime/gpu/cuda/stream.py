"""Streams of work for the GPU, and recorded work that is launched as a whole."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from m3e_runtime.errors import EngineRunError
from m3e_runtime.gpu.cuda.context import CudaContext
from m3e_runtime.gpu.cuda.memory import DeviceMemory, PinnedArray

__all__ = ["RecordedGraph", "Stream"]


class Stream:
    """Work in a stream runs in order; streams run in parallel."""

    def __init__(self, cuda: CudaContext) -> None:
        self._cuda = cuda
        flags = cuda.constant("CUstream_flags", "CU_STREAM_NON_BLOCKING")
        self._stream = cuda.call("cuStreamCreate", flags)
        self.handle = int(self._stream)
        self.close = weakref.finalize(self, cuda.release, "cuStreamDestroy", self._stream)

    def copy_to_device(self, source: PinnedArray, target: DeviceMemory, size: int) -> None:
        """Copy the first ``size`` bytes; returns at once."""
        self._cuda.call("cuMemcpyHtoDAsync", target.address, source.address, size, self._stream)

    def copy_to_host(self, source: DeviceMemory, target: PinnedArray, size: int) -> None:
        """Copy the first ``size`` bytes; returns at once."""
        self._cuda.call("cuMemcpyDtoHAsync", target.address, source.address, size, self._stream)

    def synchronize(self) -> None:
        """Wait until all of its work is done.

        Raises:
            EngineRunError: some of the work failed.
        """
        self._cuda.call("cuStreamSynchronize", self._stream)

    def record(self, work: Callable[[], None]) -> RecordedGraph:
        """Record what ``work`` enqueues in this stream, without running it."""
        # Other threads may allocate meanwhile: only this thread's calls must be recordable.
        mode = self._cuda.constant("CUstreamCaptureMode", "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")
        self._cuda.call("cuStreamBeginCapture", self._stream, mode)
        try:
            work()
        except BaseException:
            with suppress(EngineRunError):  # None if the recording failed
                self._cuda.call("cuGraphDestroy", self._cuda.call("cuStreamEndCapture", self._stream))
            raise
        return RecordedGraph(self._cuda, self._cuda.call("cuStreamEndCapture", self._stream))

    def launch(self, graph: RecordedGraph) -> None:
        """Run recorded work; returns at once."""
        self._cuda.call("cuGraphLaunch", graph.handle, self._stream)


class RecordedGraph:
    """A CUDA graph, ready to launch. The memory that it uses must outlive it."""

    def __init__(self, cuda: CudaContext, graph: Any) -> None:
        try:
            self.handle = cuda.call("cuGraphInstantiate", graph, 0)
        finally:
            cuda.call("cuGraphDestroy", graph)
        self.close = weakref.finalize(self, cuda.release, "cuGraphExecDestroy", self.handle)
