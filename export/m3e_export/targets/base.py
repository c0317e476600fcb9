"""What the export needs to know of a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint import Checkpoint
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules
from m3e_runtime.backends import Backend
from m3e_runtime.errors import OptionError
from m3e_runtime.gpu.tensorrt import EngineOptions

__all__ = ["DialectName", "Target"]

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

    def specialize(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> Target:
        """The target itself, or the form of it that suits the checkpoint best."""
        del checkpoint, precision, options
        return self

    def check(self, options: EngineOptions) -> None:
        """Find out early what would stop :meth:`build`.

        Raises:
            EngineMissingError: a package or a GPU is missing.
            OptionError: an option that this target does not know.
        """
        if options != EngineOptions():
            raise OptionError("options of an engine are for --target tensorrt and tensorrt-rtx only.")

    def build(self, files: Sequence[Path], options: EngineOptions) -> tuple[list[Path], dict[str, str]]:
        """What remains to be made of ``files`` once they have passed the gate.

        Returns:
            The files of the artifact, and what it requires.
        """
        del options
        return list(files), self.requires
