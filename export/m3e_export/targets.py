"""The forms in which a model is written, each with the engine that runs it here and judges it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint import Checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import DIALECTS
from m3e_export.native import save_native
from m3e_export.native.writer import FORMAT_VERSION
from m3e_export.precision.activations import RangeCodes, StaticCodes, SymmetricCodes
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules, float_plan
from m3e_runtime.backends import Backend
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.errors import OptionError
from m3e_runtime.trt import EngineOptions, build_engine, choose_capabilities, find_package

__all__ = ["TARGETS", "Target"]

DialectName = Literal["onnxruntime", "standard", "tensorrt"]


class Target(ABC):
    """One form of a model.

    ``requires`` is what the manifest will ask of the engine; ``half_arithmetic`` says whether fp16 means
    arithmetic in fp16 too, and not only weights; ``int8`` what it does in int8; ``judged`` whether
    :meth:`load` runs the artifact itself or the graph that it is made from.
    """

    format: Literal["onnx", "native", "tensorrt"]
    judged: Literal["artifact", "graph"] = "artifact"
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

    @abstractmethod
    def load(self, path: Path, threads: int) -> Backend:
        """Open the artifact in the engine that it is for.

        Raises:
            EngineMissingError: that engine is not installed.
        """

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

    def __init__(self, dialect: DialectName, half_arithmetic: bool) -> None:
        self.dialect = dialect
        self._builder = DIALECTS[dialect]
        self.half_arithmetic = half_arithmetic
        self.requires = {"onnxruntime": "1.23", "opset": "20"}
        self.int8 = Int8Rules(SymmetricCodes())

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """The first one is ``onnx/model.onnx``, which sentence-transformers and Optimum look for."""
        return folder / "onnx" / ("model.onnx" if first else f"model_{name}.onnx")

    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """See :class:`Target`."""
        layout = checkpoint.layout
        options = GraphOptions(layout.pooling, layout.normalize)
        return save_model(
            build_model(checkpoint.spec, checkpoint.weights, plan, self._builder, options), path
        )

    def load(self, path: Path, threads: int) -> Backend:
        """See :class:`Target`."""
        return OnnxRuntimeCpu(path, threads)


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
        return save_native(checkpoint.spec, checkpoint.weights, plan, layout.pooling, layout.normalize, path)

    def load(self, path: Path, threads: int) -> Backend:
        """See :class:`Target`."""
        return NativeCpu(path, threads)


class TensorRtTarget(OnnxTarget):
    """An engine of TensorRT, and the graph that it is built from.

    The gate judges the graph, on ONNX Runtime: an engine runs on the GPU that it is for only. TensorRT does
    not give the same bytes twice.
    """

    format = "tensorrt"
    judged = "graph"

    def __init__(self, package: str) -> None:
        super().__init__("tensorrt", half_arithmetic=True)
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
        return [engine, *files], requires


TARGETS: dict[str, Target] = {
    "native": NativeTarget(),
    "cpu": OnnxTarget("onnxruntime", half_arithmetic=False),
    "portable": OnnxTarget("standard", half_arithmetic=True),
    "tensorrt": TensorRtTarget("tensorrt"),
    "tensorrt-rtx": TensorRtTarget("tensorrt_rtx"),
}
"""By the names that ``--target`` takes."""
