"""The forms in which a model is written, each with the engine that runs it here and judges it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import (
    CudaDialect,
    CudaPackedDialect,
    Dialect,
    OnnxRuntimeDialect,
    StandardDialect,
    TensorRtDialect,
    TensorRtPackedDialect,
)
from m3e_export.native import save_native
from m3e_export.native.writer import FORMAT_VERSION
from m3e_export.precision.activations import RangeCodes, StaticCodes, SymmetricCodes
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules, float_plan
from m3e_runtime.backends import Backend
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.errors import OptionError
from m3e_runtime.gpu.batch_shapes import PackedLayout
from m3e_runtime.gpu.tensorrt import EngineOptions, build_engine, choose_capabilities, find_package
from m3e_runtime.gpu.tensorrt.packed import why_not_packed

__all__ = ["TARGETS", "Target"]

logger = logging.getLogger(__name__)

DialectName = Literal["onnxruntime", "standard", "tensorrt"]


class Target(ABC):
    """One form of a model.

    ``requires`` is what the manifest will ask of the engine; ``half_arithmetic`` says whether fp16 means
    arithmetic in fp16 too, and not only weights; ``int8`` what it does in int8; ``judged`` whether
    :meth:`load` runs the artifact itself or the graph that it is made from; ``layout`` how the artifact's
    inputs hold texts; ``has_twin`` whether something else is judged in the artifact's place;
    ``leaves_out_prompts`` whether it can serve a checkpoint that does not pool the tokens of prompts.
    """

    format: Literal["onnx", "native", "tensorrt"]
    judged: Literal["artifact", "graph"] = "artifact"
    layout: Literal["padded", "packed"] = "padded"
    has_twin = False
    leaves_out_prompts = True
    dialect: DialectName | None
    requires: dict[str, str]
    batch_invariant: bool
    half_arithmetic: bool
    int8: Int8Rules

    @abstractmethod
    def path(self, folder: Path, name: str, first: bool) -> Path:
        """Where the artifact ``name`` goes; ``first`` of its format in the bundle."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """Write the artifact; return its files, the entry point first."""

    def save_twin(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """Write what :meth:`load` can run here: the artifact, or what computes the same without a GPU."""
        return self.save(checkpoint, plan, path)

    @abstractmethod
    def load(self, path: Path, threads: int) -> Backend:
        """Open the artifact, or its twin, in the engine that judges it.

        Raises:
            EngineMissingError: that engine is not installed.
        """

    def check_precision(self, precision: str) -> None:
        """Find out early whether this target is of use in ``precision``.

        Raises:
            OptionError: it is not; the message says what to take instead.
        """
        del precision

    def settle(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> Target:
        """The target itself, or the form of it that suits the checkpoint best."""
        del checkpoint, precision, options
        return self

    def check(self, options: EngineOptions) -> None:
        """Find out early what would stop :meth:`complete`.

        Raises:
            EngineMissingError: a package or a GPU is missing.
            OptionError: an option that this target does not know.
        """
        if options != EngineOptions():
            raise OptionError("options of an engine are for --target tensorrt and tensorrt-rtx only.")

    def complete(self, files: Sequence[Path], options: EngineOptions) -> tuple[list[Path], dict[str, str]]:
        """What remains to be made of ``files`` once they have passed the gate.

        Returns:
            The files of the artifact, and what it requires.
        """
        del options
        return list(files), self.requires


class OnnxTarget(Target):
    """A graph in one of the dialects, run by ONNX Runtime."""

    format: Literal["onnx", "native", "tensorrt"] = "onnx"
    batch_invariant = False

    def __init__(self, name: DialectName, dialect: type[Dialect], half_arithmetic: bool) -> None:
        self.dialect = name
        self.layout = dialect.texts_type.layout
        self.has_twin = dialect.reference is not None
        self.leaves_out_prompts = dialect.leaves_out_prompts
        self.half_arithmetic = half_arithmetic
        self.requires = {"onnxruntime": "1.23", "opset": "20"}
        self.int8 = Int8Rules(SymmetricCodes())
        self._dialect = dialect

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """The first one is ``onnx/model.onnx``, which sentence-transformers and Optimum look for."""
        return folder / "onnx" / ("model.onnx" if first else f"model_{name}.onnx")

    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """See :class:`Target`."""
        return _save_graph(checkpoint, plan, self._dialect, path)

    def save_twin(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """See :class:`Target`."""
        return _save_graph(checkpoint, plan, self._dialect.reference or self._dialect, path)

    def load(self, path: Path, threads: int) -> Backend:
        """See :class:`Target`."""
        # The judge rounds no sizes up, so that the longest text of the model does not matter.
        layout = PackedLayout(max_length=1) if self.layout == "packed" else None
        return OnnxRuntimeCpu(path, threads, layout=layout)


def _save_graph(
    checkpoint: Checkpoint, plan: PrecisionPlan, dialect: type[Dialect], path: Path
) -> list[Path]:
    layout = checkpoint.layout
    options = GraphOptions(
        layout.pooling, layout.normalize, checkpoint.dense, layout.include_prompt, checkpoint.state_weights
    )
    return save_model(build_model(checkpoint.spec, checkpoint.weights, plan, dialect, options), path)


class CudaTarget(OnnxTarget):
    """A graph for ONNX Runtime on CUDA. The gate judges it, or its twin, on the CPU."""

    judged = "graph"

    def __init__(self, dialect: type[Dialect]) -> None:
        super().__init__("onnxruntime", dialect, half_arithmetic=True)

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """Apart from graphs for any device, which other tools look for."""
        del first
        return folder / "gpu" / f"model_{name}.onnx"

    def check_precision(self, precision: str) -> None:
        """See :class:`Target`."""
        if precision == "int8":
            raise OptionError(
                "int8 on ONNX Runtime CUDA is slower than fp16, since its integer operators run on the CPU: "
                "use --precision fp16, or int8 with --target tensorrt or tensorrt-rtx."
            )


class NativeTarget(Target):
    """Weights for the engine of this package."""

    format = "native"
    dialect = None
    batch_invariant = True
    half_arithmetic = False

    def __init__(self) -> None:
        self.requires = {"native": FORMAT_VERSION}
        self.int8 = Int8Rules(RangeCodes())

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """See :class:`Target`."""
        del first
        return folder / "native" / f"model_{name}.safetensors"

    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """See :class:`Target`."""
        layout = checkpoint.layout
        return save_native(
            checkpoint.spec,
            checkpoint.weights,
            plan,
            layout.pooling,
            layout.normalize,
            path,
            checkpoint.dense,
            checkpoint.state_weights,
        )

    def load(self, path: Path, threads: int) -> Backend:
        """See :class:`Target`."""
        return NativeCpu(path, threads)


_AMPERE = "8.0"
"""The oldest compute capability that a hardware-compatible engine runs on."""


class TensorRtTarget(OnnxTarget):
    """An engine of TensorRT, and the graph that it is built from.

    The gate judges the graph, on ONNX Runtime: an engine runs on the GPU that it is for only. TensorRT does
    not give the same bytes twice.
    """

    format = "tensorrt"
    judged = "graph"

    def __init__(self, package: str, dialect: type[Dialect] = TensorRtDialect) -> None:
        super().__init__("tensorrt", dialect, half_arithmetic=True)
        self.requires = {}  # known when the engine has been built
        # TensorRT cuts the product that gives query, key and value in three, and then multiplies floats.
        gaining = ("intermediate", "output", "attention_output")
        self.int8 = Int8Rules(StaticCodes(), gaining, float_plan("fp16", half_arithmetic=True))
        self._package = package

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """See :class:`Target`."""
        del first
        return folder / "tensorrt" / f"model_{name}.onnx"

    def check(self, options: EngineOptions) -> None:
        """See :class:`Target`."""
        choose_capabilities(find_package(self._package), options.compute_capabilities)

    def settle(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> Target:
        """For packed texts where TensorRT has a kernel: no padding is computed then."""
        reason = self._why_not_packed(checkpoint, precision, options)
        if reason is None:
            return TensorRtTarget(self._package, TensorRtPackedDialect)
        logger.info("%s %s: texts are padded, not packed: %s.", precision, self._package, reason)
        return self

    def _why_not_packed(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> str | None:
        if precision == "fp32":
            return "packed attention is for fp16"
        if "max" in pooling_spec(checkpoint.layout.pooling).reductions:
            return "the pooling 'max' is for padded texts"
        if checkpoint.weights.relative_bias is not None:
            return "relative positions are for padded texts"
        package, spec = find_package(self._package), checkpoint.spec
        capabilities = choose_capabilities(package, options.compute_capabilities)
        return why_not_packed(package, spec.heads, spec.head_size, capabilities)

    def complete(self, files: Sequence[Path], options: EngineOptions) -> tuple[list[Path], dict[str, str]]:
        """Build the engine."""
        package = find_package(self._package)
        built = build_engine(package, files[0], options)
        engine = files[0].with_suffix(".engine")
        engine.write_bytes(built.plan)
        requires = {
            package.name: package.version,
            "compute_capabilities": " ".join(built.compute_capabilities),
        }
        if options.strip_weights:
            requires["weights"] = "graph"
        if options.hardware_compatible and package.name == "tensorrt":
            requires["from_compute_capability"] = _AMPERE
        return [engine, *files], requires


TARGETS: dict[str, Target] = {
    "native": NativeTarget(),
    "cpu": OnnxTarget("onnxruntime", OnnxRuntimeDialect, half_arithmetic=False),
    "portable": OnnxTarget("standard", StandardDialect, half_arithmetic=True),
    "cuda": CudaTarget(CudaDialect),
    "cuda-packed": CudaTarget(CudaPackedDialect),
    "tensorrt": TensorRtTarget("tensorrt"),
    "tensorrt-rtx": TensorRtTarget("tensorrt_rtx"),
}
"""By the names that ``--target`` takes."""
