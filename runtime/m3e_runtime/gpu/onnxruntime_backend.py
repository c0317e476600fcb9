"""ONNX Runtime on a GPU, with fixed buffers. Runs of small batches are recorded as CUDA graphs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import BundleError, ClosedError, EngineMissingError, EngineRunError, M3EError
from m3e_runtime.gpu.batch_shapes import BatchSize, Layout, PackedLayout
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.providers import PROVIDERS, check_provider, load_onnxruntime, provider_options
from m3e_runtime.gpu.tensorrt.options import Profile
from m3e_runtime.tokenization import TokenIds

__all__ = ["OnnxRuntimeGpu"]

logger = logging.getLogger(__name__)

RECORDED_SIZES = 48
"""Most sizes to record. ONNX Runtime keeps a recording as long as the session."""

_OUTPUT = "sentence_embedding"
_UNRECORDED = -1  # the annotation that tells ONNX Runtime not to record a run
_TOKEN_BUDGET = 16384
_MOST_TEXTS = 512

_OF_MEMORY = ("out of memory", "failed to allocate memory")
_OF_THE_DEVICE = ("cuda failure", "cudnn failure", "cublas failure")
"""Parts of error messages that are not about the model."""

Vectors = npt.NDArray[np.float32]


class OnnxRuntimeGpu:
    """One session with one provider.

    All runs use one dedicated thread: ONNX Runtime keeps recordings and CUDA handles for each thread
    separately, until the session ends, even after the thread has ended.
    """

    arithmetic: str | None = None
    instruction_set: str | None = None
    threads = 1
    token_budget = _TOKEN_BUDGET

    def __init__(
        self,
        model: Path,
        gpu: Gpu,
        layout: Layout,
        dimension: int,
        backend: str = "onnxruntime",
        profiles: tuple[Profile, ...] = (),
        cache: Path = Path("."),
        memory_limit: int | None = None,
    ) -> None:
        """Open ``model`` on ``gpu``.

        Args:
            model: the graph.
            gpu: where to run it.
            layout: what it takes.
            dimension: of its vectors.
            backend: a name in :data:`m3e_runtime.gpu.providers.PROVIDERS`.
            profiles: shapes that TensorRT's providers choose kernels for.
            cache: folder where these keep what they make.
            memory_limit: bytes of the GPU that may be held; None: any.

        Raises:
            BundleError: ONNX Runtime rejects the model, or it is not a bundle's.
            EngineMissingError: the provider cannot be used here.
            EngineRunError: the GPU has not enough memory.
        """
        check_provider(backend)
        self._library = load_onnxruntime()
        self.version: str = self._library.__version__
        self.name = "onnxruntime-cuda" if backend == "onnxruntime" else backend
        self.gpu = gpu
        self.pads = not isinstance(layout, PackedLayout)
        self._layout = layout
        self._dimension = dimension
        self._profiles = profiles
        self._device = ("cuda", gpu.index)
        options = provider_options(
            backend, self.version, gpu.index, profiles, tuple(layout.types), cache, memory_limit
        )
        self._session, self.records = self._open(model, PROVIDERS[backend], options)
        self._check_interface(model)
        self._thread = ThreadPoolExecutor(1, "m3e-onnxruntime")
        self._process = os.getpid()
        self._slots: dict[BatchSize, _Slot] = {}
        self._met: set[BatchSize] = set()
        self._recordings = 0

    @property
    def recordings(self) -> int:
        """Sizes whose runs have been recorded as CUDA graphs; 0 if none are."""
        return len(self._slots) if self.records else 0

    def most_texts(self, longest: int) -> int | None:
        """See :class:`m3e_runtime.backends.base.Backend`."""
        fitting = [each.texts.most for each in self._profiles if each.tokens.most >= longest]
        return max(fitting, default=_MOST_TEXTS)

    def run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Vectors:
        """Encode texts together; see :class:`m3e_runtime.backends.base.Backend`.

        Raises:
            EngineRunError: ONNX Runtime fails. The message quotes it.
        """
        del prompt_lengths  # such a bundle is not loaded on a GPU
        if os.getpid() != self._process:  # the thread does not exist in a forked process
            raise EngineRunError("a GPU cannot be used in a process forked off: load the encoder there.")
        size = self._size([len(ids) for ids in token_ids])
        try:
            running = self._thread.submit(self._run, token_ids, token_types, size)
        except RuntimeError as error:  # its thread has ended
            raise ClosedError from error
        return running.result()

    def close(self) -> None:
        """Free the GPU's memory. Further runs fail."""
        self._thread.shutdown()
        self._slots.clear()
        self._session = None

    def _size(self, lengths: list[int]) -> BatchSize:
        """The rounded size if a profile has it, else the exact size."""
        size = self._layout.size(lengths)
        if not self._profiles or any(
            size.texts <= each.texts.most and size.tokens <= each.tokens.most for each in self._profiles
        ):
            return size
        return self._layout.size(lengths, exact=True)

    def _run(
        self, token_ids: Sequence[TokenIds], token_types: Sequence[TokenIds] | None, size: BatchSize
    ) -> Vectors:
        def compute(slot: _Slot) -> Vectors:
            self._layout.fill(token_ids, size, slot.inputs, token_types)
            return slot.run()[: len(token_ids)].copy()

        try:
            if size in self._slots or self._may_record(size):
                try:
                    return compute(self._recorded_slot(size))
                except Exception as error:  # the library's exceptions have no common base
                    # An allocation by another user of the GPU can spoil a recording. The run is repeated.
                    self._slots.pop(size, None)
                    logger.info("%s: a run was not recorded: %s", self.name, _first_line(error))
            return compute(self._new_slot(size, _UNRECORDED))
        except Exception as error:
            raise EngineRunError(f"{self.name} {self.version}: {_first_line(error)}") from error

    def _may_record(self, size: BatchSize) -> bool:
        """Whether the size occurs again, and there is room for a recording."""
        if not size.recorded or self._recordings >= RECORDED_SIZES:
            return False
        again = size in self._met
        self._met.add(size)
        return again

    def _recorded_slot(self, size: BatchSize) -> _Slot:
        """The fixed buffers of a recurring size."""
        if size not in self._slots:
            self._recordings += 1  # failed ones count, too: a number cannot be used twice
            annotation = self._recordings if self.records else _UNRECORDED
            self._slots[size] = self._new_slot(size, annotation)
        return self._slots[size]

    def _new_slot(self, size: BatchSize, annotation: int) -> _Slot:
        options = self._library.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(annotation))
        return _Slot(self._library, self._session, options, self._device, self._layout, size, self._dimension)

    def _open(self, model: Path, provider: str, options: dict[str, str]) -> tuple[Any, bool]:
        """A session, and whether it records runs. If recording is not possible, it does not."""
        missing = self._load_libraries()
        session, problem = self._try(model, provider, options)
        records = options.get("enable_cuda_graph") == "1"
        if session is None and records:
            logger.info("%s: runs will not be recorded: %s", model, problem)
            session, problem = self._try(model, provider, options | {"enable_cuda_graph": "0"})
            records = False
        if session is None:
            raise self._refusal(model, problem)
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU without an error
            raise EngineMissingError(
                f"ONNX Runtime {self.version} cannot start {provider} on {self.gpu.name}: "
                f"{missing or 'a library of CUDA or cuDNN is missing or of another version'}. "
                "`pip install 'm3e-runtime[gpu]'` brings them."
            )
        return session, records

    def _try(self, model: Path, provider: str, options: dict[str, str]) -> tuple[Any, str]:
        """A session, or None and the reason."""
        library = self._library
        settings = library.SessionOptions()
        settings.log_severity_level = 3
        # The graph has fused operators already.
        settings.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.enable_mem_pattern = False
        try:
            # Its own fallback to the CPU prints to standard output and hides the reason.
            return library.InferenceSession(
                str(model), settings, providers=[(provider, options)], enable_fallback=0
            ), ""
        except Exception as error:  # the library's exceptions have no common base
            return None, _first_line(error)

    def _load_libraries(self) -> str:
        """Load CUDA from NVIDIA's packages, which are on no search path. Returns what is missing."""
        if not hasattr(self._library, "preload_dlls"):
            return ""
        with contextlib.redirect_stdout(io.StringIO()) as said:  # it prints what it cannot load
            self._library.preload_dlls()
        return next((line for line in said.getvalue().splitlines() if line.startswith("Failed")), "")

    def _refusal(self, model: Path, problem: str) -> M3EError:
        """The error for ONNX Runtime's message about loading ``model``."""
        words = f"{self.name} {self.version} on {self.gpu.name}: {problem}"
        if any(part in problem.lower() for part in _OF_MEMORY):
            return EngineRunError(words)
        if any(part in problem.lower() for part in _OF_THE_DEVICE):
            return EngineMissingError(words)
        return BundleError(f"{model}: {self.name} {self.version} cannot load it: {problem}")

    def _check_interface(self, model: Path) -> None:
        taken = {value.name for value in self._session.get_inputs()}
        given = {value.name: value.shape for value in self._session.get_outputs()}
        shape = given.get(_OUTPUT)
        if taken != set(self._layout.types) or shape is None or shape[-1] != self._dimension:
            raise BundleError(
                f"{model}: takes {sorted(taken)} and gives {given}; the manifest says "
                f"{sorted(self._layout.types)} and {self._dimension} dimensions. Export it again."
            )


class _Slot:
    """Buffers of one size on host and GPU, bound to a run."""

    def __init__(
        self,
        library: Any,
        session: Any,
        options: Any,
        device: tuple[str, int],
        layout: Layout,
        size: BatchSize,
        dimension: int,
    ) -> None:
        self._session = session
        self._options = options
        self._binding = session.io_binding()
        self._on_device: dict[str, Any] = {}
        self.inputs: dict[str, npt.NDArray[Any]] = {}
        for name, shape in layout.shapes(size).items():
            self.inputs[name] = np.empty(shape, layout.types[name])
            self._on_device[name] = library.OrtValue.ortvalue_from_shape_and_type(
                shape, layout.types[name].type, *device
            )
            self._binding.bind_ortvalue_input(name, self._on_device[name])
        self._vectors = library.OrtValue.ortvalue_from_shape_and_type(
            (size.texts, dimension), np.float32, *device
        )
        self._binding.bind_ortvalue_output(_OUTPUT, self._vectors)

    def run(self) -> Vectors:
        """Copy :attr:`inputs` to the GPU, compute, copy the vectors back: float32 ``[texts, dimension]``."""
        for name, array in self.inputs.items():
            self._on_device[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding, self._options)
        vectors: Vectors = self._vectors.numpy()
        return vectors


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
