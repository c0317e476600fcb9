"""The interface of a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.token_heads import TokenHeads
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules
from m3e_runtime.backends import Backend
from m3e_runtime.errors import OptionError
from m3e_runtime.gpu.tensorrt import EngineOptions

__all__ = ["DialectName", "Target"]

DialectName = Literal["onnxruntime", "standard", "tensorrt"]


class Target(ABC):
    """An engine that artifacts are written for.

    ``requires`` is what the engine must provide, for the manifest. ``half_arithmetic`` says whether fp16
    means arithmetic in fp16, and not only storage. ``bfloat16`` says whether it can multiply in bfloat16
    instead. ``int8`` is what int8 means for it. ``judged`` says
    whether :meth:`load` runs the artifact or the graph that it is built from, ``layout`` how the inputs hold
    a batch, ``has_twin`` whether a twin is judged instead of the artifact, and ``leaves_out_prompts`` whether
    it supports checkpoints that do not pool prompts. ``gives_token_outputs`` says whether its artifacts give
    the sparse vectors and multi-vectors of models that have them.
    """

    format: Literal["onnx", "native", "tensorrt"]
    judged: Literal["artifact", "graph"] = "artifact"
    layout: Literal["padded", "packed"] = "padded"
    has_twin = False
    leaves_out_prompts = True
    gives_token_outputs = False
    dialect: DialectName | None
    requires: dict[str, str]
    batch_invariant: bool
    half_arithmetic: bool
    bfloat16 = False
    int8: Int8Rules

    def gives(self, heads: TokenHeads) -> bool:
        """Whether its artifacts give the outputs of ``heads``."""
        del heads
        return self.gives_token_outputs

    @abstractmethod
    def path(self, folder: Path, name: str, first: bool) -> Path:
        """The path of the artifact ``name``. ``first``: it is the first of its format in the bundle."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """Write the artifact; return its files, the model first."""

    def save_twin(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        """Write the twin: what :meth:`load` can run here and computes the same without a GPU."""
        return self.save(checkpoint, plan, path)

    @abstractmethod
    def load(self, path: Path, threads: int, token_types: bool = False) -> Backend:
        """Open the artifact or its twin, which maybe takes token types, for the gate.

        Raises:
            EngineMissingError: the engine is not installed.
        """

    def check_precision(self, precision: str) -> None:
        """Check early that the target supports ``precision``.

        Raises:
            OptionError: it does not; the message names an alternative.
        """
        del precision

    def specialize(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> Target:
        """The target itself, or a variant that suits the checkpoint better."""
        del checkpoint, precision, options
        return self

    def check(self, options: EngineOptions) -> None:
        """Check early that :meth:`build` can run.

        Raises:
            EngineMissingError: a package or a GPU is missing.
            OptionError: the target does not support an option.
        """
        if options != EngineOptions():
            raise OptionError("options of engines are for --target tensorrt and tensorrt-rtx only.")

    def build(self, files: Sequence[Path], options: EngineOptions) -> tuple[list[Path], dict[str, str]]:
        """Build the artifact from ``files`` after they have passed the gate.

        Returns:
            The files of the artifact, and what it requires.
        """
        del options
        return list(files), self.requires
