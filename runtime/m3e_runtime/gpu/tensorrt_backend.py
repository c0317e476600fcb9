"""TensorRT engines on a GPU: fixed buffers, one recording for each size, several streams."""

from __future__ import annotations

import logging
import queue
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import BundleError, ClosedError, EngineRunError
from m3e_runtime.gpu.batch_shapes import BatchSize, Layout, PackedLayout
from m3e_runtime.gpu.cuda import CudaContext, DeviceMemory, PinnedArray, Stream
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.tensorrt.engine import OUTPUT, Engine
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.under_way import under_way

__all__ = ["TensorRtGpu"]

logger = logging.getLogger(__name__)

LANES = 2
"""Batches on the GPU at a time: one computes while the tokens and vectors of the other are copied."""

RECORDED_SIZES = 32
"""Most recorded sizes of a lane. Each has a context and buffers, some MB of the GPU's memory."""

_TYPES = {"int64": "DataType.INT64", "int32": "DataType.INT32", "float32": "DataType.FLOAT"}
"""TensorRT's names of numpy's types."""

Vectors = npt.NDArray[np.float32]


class TensorRtGpu:
    """An engine on one GPU. ``run`` and ``submit`` may be called from several threads at once."""

    arithmetic: str | None = None
    instruction_set: str | None = None

    def __init__(self, engine: Engine, cuda: CudaContext, gpu: Gpu, layout: Layout, dimension: int) -> None:
        """Allocate buffers on ``gpu``, whose context is the calling thread's.

        Raises:
            BundleError: the engine takes other inputs, or gives other vectors, than the manifest says.
            EngineRunError: the GPU has not enough memory.
        """
        self.name = engine.trt.name.replace("_", "-")
        self.version = engine.trt.version
        self.gpu = gpu
        self.threads = 1
        self.pads = not isinstance(layout, PackedLayout)
        if set(engine.inputs) != set(layout.types):
            raise BundleError(
                f"the engine takes {sorted(engine.inputs)}, the manifest says {sorted(layout.types)}. "
                "Export it again."
            )
        if engine.output_shape()[-1] != dimension:
            raise BundleError(
                f"the engine gives {engine.output_shape()[-1]} dimensions, the manifest says {dimension}. "
                "Export it again."
            )
        types = {name: _TYPES[dtype.name] for name, dtype in layout.types.items()} | {
            OUTPUT: _TYPES["float32"]
        }
        if engine.types != types:
            raise BundleError(f"the engine's types are {engine.types}, not {types}. Export it again.")
        self._cuda = cuda
        self._closed = False
        self._engine = engine
        self._lanes = [_Lane(cuda, engine, layout, dimension) for _ in range(LANES)]
        # Last in, first out: a single caller reuses the lane with its recordings.
        self._idle: queue.LifoQueue[_Lane] = queue.LifoQueue()
        for lane in reversed(self._lanes):
            self._idle.put(lane)
        # It also runs at exit. Created last, so that it runs before memory is freed.
        self._keep_kernels = weakref.finalize(self, engine.keep_kernels)

    @property
    def token_budget(self) -> int:
        """Most tokens of a batch, padding included."""
        if self.pads:
            return max(
                each.most["input_ids"][0] * each.most["input_ids"][1] for each in self._engine.profiles
            )
        return max(each.most["input_ids"][0] for each in self._engine.profiles)

    def most_texts(self, longest: int) -> int:
        """Most texts of a batch whose longest has that many tokens."""
        if self.pads:
            sizes = [each.most["input_ids"] for each in self._engine.profiles]
            return max((texts for texts, tokens in sizes if tokens >= longest), default=1)
        return max(each.most["cumulative_lengths"][0] for each in self._engine.profiles) - 1

    def run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Vectors:
        """Encode texts together; see :class:`m3e_runtime.backends.base.Backend`.

        Raises:
            EngineRunError: the GPU or TensorRT fails. The message quotes them.
        """
        del prompt_lengths  # such a bundle is not loaded on a GPU
        pending = self.submit(token_ids, token_types=token_types)
        assert pending is not None  # noqa: S101 - it waits
        return pending.result()

    def submit(
        self,
        token_ids: Sequence[TokenIds],
        wait: bool = True,
        token_types: Sequence[TokenIds] | None = None,
    ) -> _Pending | None:
        """Start a run and return at once; None if all lanes are busy and ``wait`` is false.

        A caller with a pending run must not wait for another: two such callers could deadlock.

        Raises:
            EngineRunError: as :meth:`run`; also in a forked process.
            ClosedError: it was closed.
        """
        self._ensure_open()
        with self._cuda.active():
            try:
                lane = self._idle.get(block=wait)
            except queue.Empty:
                return None
            try:
                self._ensure_open()  # it may be closed by now
                with under_way():
                    return _Pending(self, lane, lane.start(token_ids, token_types), len(token_ids))
            except BaseException:
                self._idle.put(lane)
                raise

    def _ensure_open(self) -> None:
        if self._closed:
            raise ClosedError

    def close(self) -> None:
        """Free the GPU's memory when the runs in progress have ended. Further runs fail."""
        if self._closed:
            return
        lanes = [self._idle.get() for _ in self._lanes]
        self._closed = True
        with self._cuda.active():
            self._keep_kernels()
            for lane in lanes:
                lane.close()
            self._engine.close()
        self._cuda.close()
        for lane in lanes:  # waiting callers wake up and get an error
            self._idle.put(lane)


class _Pending:
    """A run in progress."""

    def __init__(self, backend: TensorRtGpu, lane: _Lane, slot: _Slot, texts: int) -> None:
        self._backend = backend
        self._lane = lane
        self._slot = slot
        self._texts = texts

    def result(self) -> Vectors:
        """Wait for the vectors, float32 ``[texts, dimension]``. Call it once."""
        try:
            with under_way(), self._backend._cuda.active():
                self._lane.stream.synchronize()
            vectors: Vectors = self._slot.vectors[: self._texts].copy()
            return vectors
        finally:
            self._backend._idle.put(self._lane)


class _Lane:
    """A stream that runs one batch after the other."""

    def __init__(self, cuda: CudaContext, engine: Engine, layout: Layout, dimension: int) -> None:
        self.stream = Stream(cuda)
        self._cuda = cuda
        self._engine = engine
        self._layout = layout
        self._dimension = dimension
        self._scratch = DeviceMemory(cuda, engine.scratch_bytes)
        self._by_profile: dict[int, _Slot] = {}
        self._recorded: OrderedDict[BatchSize, _Slot] = OrderedDict()
        self._met: set[BatchSize] = set()
        self._without: set[BatchSize] = set()
        """Sizes that did not fit into memory as recordings."""

    def start(self, token_ids: Sequence[TokenIds], token_types: Sequence[TokenIds] | None) -> _Slot:
        """Enqueue a run in the stream."""
        lengths = [len(ids) for ids in token_ids]
        size = self._layout.size(lengths)
        if self._engine.profile_for(self._layout.shapes(size)) is None:
            size = self._layout.size(lengths, exact=True)
        shapes = self._layout.shapes(size)
        profile = self._engine.profile_for(shapes)
        if profile is None:
            raise EngineRunError(
                f"the engine has no profile for {len(token_ids)} texts of at most {size.longest} tokens."
            )
        slot = self._slot(size, profile)
        self._layout.fill(token_ids, size, slot.shape_to(shapes), token_types)
        slot.launch()
        return slot

    def close(self) -> None:
        """Free all resources."""
        for slot in (*self._recorded.values(), *self._by_profile.values()):
            slot.close()
        self._recorded.clear()
        self._by_profile.clear()
        self._scratch.close()
        self.stream.close()

    def _slot(self, size: BatchSize, profile: int) -> _Slot:
        """The recording of this size, or the slot for any size. Recording pays off for recurring sizes."""
        if size in self._recorded:
            self._recorded.move_to_end(size)
            return self._recorded[size]
        if not size.recorded or size in self._without:
            return self._any_size(profile)
        if size not in self._met:
            self._met.add(size)
            return self._any_size(profile)
        if len(self._recorded) >= RECORDED_SIZES:
            _, oldest = self._recorded.popitem(last=False)
            oldest.close()
        try:
            slot = self._new_slot(profile, self._layout.shapes(size), size.texts, recorded=True)
        except EngineRunError as error:
            logger.info("A size will not be recorded: %s", error)
            self._without.add(size)
            return self._any_size(profile)
        self._recorded[size] = slot
        return slot

    def _any_size(self, profile: int) -> _Slot:
        if profile not in self._by_profile:
            most = dict(self._engine.profiles[profile].most)
            texts = most.get("cumulative_lengths", (most["input_ids"][0] + 1,))[0] - 1
            self._by_profile[profile] = self._new_slot(profile, most, texts, recorded=False)
        return self._by_profile[profile]

    def _new_slot(
        self, profile: int, shapes: dict[str, tuple[int, ...]], texts: int, recorded: bool
    ) -> _Slot:
        context = self._engine.context(profile, self.stream.handle, self._scratch, recorded)
        slot = _Slot(self._cuda, self._engine, context, self.stream, recorded)
        slot.allocate(shapes, self._layout.types, (texts, self._dimension))
        return slot


class _Slot:
    """An execution context, its buffers on host and GPU, and its recording, if there is one."""

    def __init__(
        self, cuda: CudaContext, engine: Engine, context: Any, stream: Stream, recorded: bool
    ) -> None:
        self._cuda = cuda
        self._engine = engine
        self._context = context
        self._stream = stream
        self._records = recorded
        self._graph: Any = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._inputs: dict[str, tuple[PinnedArray, DeviceMemory]] = {}

    def allocate(self, shapes: dict[str, tuple[int, ...]], types: Any, output: tuple[int, int]) -> None:
        """Buffers for inputs up to ``shapes`` and an output up to ``output``."""
        for name, shape in shapes.items():
            host = PinnedArray(self._cuda, shape, types[name])
            self._inputs[name] = (host, self._on_device(host, name))
        self._output = PinnedArray(self._cuda, output, np.float32)
        self._device_output = self._on_device(self._output, OUTPUT)

    @property
    def vectors(self) -> Vectors:
        """The host buffer of the vectors, float32 ``[texts, dimension]`` or larger."""
        vectors: Vectors = self._output.array
        return vectors

    def shape_to(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
        """Set the shapes of the next runs. Returns the arrays to fill."""
        if shapes != self._shapes:
            self._shapes = {}  # until all are set
            for name, shape in shapes.items():
                if not self._context.set_input_shape(name, shape):
                    raise EngineRunError(f"the engine refuses {name} of shape {shape}.")
            self._shapes = shapes
        return {name: _front(self._inputs[name][0].array, shape) for name, shape in shapes.items()}

    def launch(self) -> None:
        """Enqueue copies and computation in the stream."""
        if self._graph is not None:
            self._stream.launch(self._graph)
            return
        self._enqueue()
        if self._records:
            # The previous run has loaded and compiled the kernels, which a recording cannot do.
            self._stream.synchronize()
            self._graph = self._record()

    def close(self) -> None:
        """Free all resources."""
        if self._graph is not None:
            self._graph.close()
        self._context = None
        for host, device in self._inputs.values():
            host.close()
            device.close()
        self._output.close()
        self._device_output.close()

    def _record(self) -> Any:
        try:
            return self._stream.record(self._enqueue)
        except EngineRunError as error:
            logger.info("This size will not be recorded: %s", error)
            self._records = False
            return None

    def _enqueue(self) -> None:
        for name, (host, device) in self._inputs.items():
            self._stream.copy_to_device(host, device, _bytes(host.array, self._shapes[name]))
        self._engine.run(self._context, self._stream.handle)
        texts = self._context.get_tensor_shape(OUTPUT)[0]
        self._stream.copy_to_host(
            self._device_output, self._output, _bytes(self._output.array, (texts, self.vectors.shape[1]))
        )

    def _on_device(self, host: PinnedArray, name: str) -> DeviceMemory:
        device = DeviceMemory(self._cuda, max(1, host.size))
        if not self._context.set_tensor_address(name, device.address):
            raise EngineRunError(f"the engine refuses memory for {name}.")
        return device


def _front(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The start of ``array``'s memory as an array of ``shape``."""
    return array.reshape(-1)[: int(np.prod(shape))].reshape(shape)


def _bytes(array: npt.NDArray[Any], shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) * array.itemsize
