"""A serialized engine loaded on the GPU: its shapes, and execution contexts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3e_runtime.cache import CacheEntry
from m3e_runtime.errors import BundleError, EngineRunError
from m3e_runtime.gpu.cuda import CudaContext, DeviceMemory
from m3e_runtime.gpu.tensorrt.monitor import make_logger
from m3e_runtime.gpu.tensorrt.package import TensorRT

__all__ = ["OUTPUT", "Engine", "ShapeRange"]

OUTPUT = "sentence_embedding"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of a profile: smallest and largest of each input."""

    least: Mapping[str, Shape]
    most: Mapping[str, Shape]

    def holds(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether every dimension of every input is within the range."""
        return all(
            all(low <= size <= high for low, size, high in zip(self.least[n], s, self.most[n], strict=True))
            for n, s in shapes.items()
        )


class Engine:
    """One engine for any number of execution contexts."""

    def __init__(
        self,
        trt: TensorRT,
        cuda: CudaContext,
        plan: bytes,
        weights: Path | None = None,
        kernels: CacheEntry | None = None,
    ) -> None:
        """Load ``plan`` on the GPU of ``cuda``, which is the calling thread's context.

        Args:
            trt: the package that the plan is for.
            cuda: the context.
            plan: the serialized engine.
            weights: the graph with the weights, if the plan has none.
            kernels: cache of the kernels that ``tensorrt_rtx`` compiles for new shapes.

        Raises:
            BundleError: TensorRT rejects it, and is quoted, or its outputs are not a bundle's.
        """
        self.trt = trt
        self._log = make_logger(trt)
        self._runtime = trt.module.Runtime(self._log)  # must outlive the engine
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BundleError(f"{trt.name} {trt.version} cannot load the engine: {self._words()}")
        if weights is not None:
            self._fill_in(weights)
        self._lock = threading.Lock()
        self._kernels = kernels
        self._kept: bytes | None = None
        self._compiled = self._known_kernels()
        self.inputs = self._names("INPUT")
        if self._names("OUTPUT") != (OUTPUT,):
            raise BundleError(f"the engine gives {self._names('OUTPUT')}, not {OUTPUT}. Export it again.")
        self.types = {name: str(self._engine.get_tensor_dtype(name)) for name in (*self.inputs, OUTPUT)}
        self.profiles = tuple(map(self._range, range(self._engine.num_optimization_profiles)))
        self.scratch_bytes = int(self._engine.device_memory_size_v2)
        """Scratch memory of a run on the GPU, in bytes."""
        self._cuda = cuda  # released last: the engine must not outlive its context

    def profile_for(self, shapes: Mapping[str, Shape]) -> int | None:
        """The first profile for these shapes; those for latency come first."""
        return next((index for index, each in enumerate(self.profiles) if each.holds(shapes)), None)

    def output_shape(self) -> Shape:
        """The shape of :data:`OUTPUT`, -1 where it depends on the inputs."""
        return tuple(self._engine.get_tensor_shape(OUTPUT))

    def context(self, profile: int, stream: int, scratch: DeviceMemory, recorded: bool) -> Any:
        """An execution context for one run at a time. Contexts that share ``scratch`` must take turns.

        Args:
            profile: its shapes will be those of this profile.
            stream: handle of the stream that it will run in.
            scratch: at least :attr:`scratch_bytes`.
            recorded: it will have one shape only, and its runs will be recorded.

        Raises:
            EngineRunError: TensorRT fails. The message quotes it.
        """
        with self._lock:
            context = self._new_context(recorded)
        if context is None:
            raise EngineRunError(f"{self.trt.name} gives no execution context: {self._words()}")
        context.set_device_memory(scratch.address, scratch.size)
        if not context.set_optimization_profile_async(profile, stream):
            raise EngineRunError(f"{self.trt.name} cannot use profile {profile}: {self._words()}")
        return context

    def run(self, context: Any, stream: int) -> None:
        """Enqueue a run in ``stream``.

        Raises:
            EngineRunError: TensorRT fails. The message quotes it.
        """
        if not context.execute_async_v3(stream):
            raise EngineRunError(f"{self.trt.name} cannot run the engine: {self._words()}")

    def keep_kernels(self) -> None:
        """Store the kernels that ``tensorrt_rtx`` has compiled, for the next process."""
        if self._kernels is None or self._compiled is None:
            return
        compiled = bytes(self._compiled.serialize())
        if compiled != self._kept:
            self._kernels.write(compiled)
            self._kept = compiled

    def close(self) -> None:
        """Free the weights. Call it when no context is left."""
        self._compiled = self._engine = self._runtime = None

    def _new_context(self, recorded: bool) -> Any:
        library = self.trt.module
        strategy = library.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._compiled is None:
            return self._engine.create_execution_context(strategy)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.set_runtime_cache(self._compiled)
        # Kernels compiled in the background would be missing in recordings.
        kinds = library.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER if recorded else kinds.LAZY
        return self._engine.create_execution_context(config)

    def _known_kernels(self) -> Any:
        """The kernels that ``tensorrt_rtx`` compiled before; ``tensorrt`` has them in the engine."""
        if self.trt.name != "tensorrt_rtx":
            return None
        compiled = self._engine.create_runtime_config().create_runtime_cache()
        self._kept = self._kernels.read() if self._kernels is not None else None
        if self._kept is not None:
            compiled.deserialize(self._kept)
        return compiled

    def _fill_in(self, weights: Path) -> None:
        library = self.trt.module
        refitter = library.Refitter(self._engine, self._log)
        read = library.OnnxParserRefitter(refitter, self._log).refit_from_file(str(weights))
        if not (read and refitter.refit_cuda_engine()):
            raise BundleError(f"{weights}: its weights do not fit the engine: {self._words()}")

    def _names(self, mode: str) -> tuple[str, ...]:
        wanted = getattr(self.trt.module.TensorIOMode, mode)
        names = (self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors))
        return tuple(name for name in names if self._engine.get_tensor_mode(name) == wanted)

    def _range(self, profile: int) -> ShapeRange:
        shapes = {name: self._engine.get_tensor_profile_shape(name, profile) for name in self.inputs}
        least, _, most = ({n: tuple(s[at]) for n, s in shapes.items()} for at in range(3))
        return ShapeRange(least, most)

    def _words(self) -> str:
        """TensorRT's errors since the last call."""
        said, self._log.errors = self._log.errors, []
        return " | ".join(dict.fromkeys(said)) or "it gives no reason"
