"""The forms in which a model is written, each with the engine that runs it here and judges it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint import Checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import DIALECTS
from m3e_export.native import save_native
from m3e_export.native.writer import FORMAT_VERSION
from m3e_export.precision.activations import ActivationCodes, RangeCodes, SymmetricCodes
from m3e_export.precision.plan import PrecisionPlan
from m3e_runtime.backends import Backend
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu

__all__ = ["TARGETS", "Target"]

DialectName = Literal["onnxruntime", "standard"]


class Target(ABC):
    """One form of a model.

    ``requires`` is what the manifest will ask of the engine; ``half_arithmetic`` says whether fp16 means
    arithmetic in fp16 too, and not only weights; ``activations`` how the engine quantizes them.
    """

    format: Literal["onnx", "native"]
    dialect: DialectName | None
    requires: dict[str, str]
    batch_invariant: bool
    half_arithmetic: bool
    activations: ActivationCodes

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


class OnnxTarget(Target):
    """A graph in one of the dialects, run by ONNX Runtime."""

    format = "onnx"
    batch_invariant = False

    def __init__(self, dialect: DialectName, half_arithmetic: bool) -> None:
        self.dialect = dialect
        self._builder = DIALECTS[dialect]
        self.half_arithmetic = half_arithmetic
        self.requires = {"onnxruntime": "1.22", "opset": "20"}
        self.activations = SymmetricCodes()

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
        self.activations = RangeCodes()

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


TARGETS: dict[str, Target] = {
    "native": NativeTarget(),
    "cpu": OnnxTarget("onnxruntime", half_arithmetic=False),
    "portable": OnnxTarget("standard", half_arithmetic=True),
}
"""By the names that ``--target`` takes."""
