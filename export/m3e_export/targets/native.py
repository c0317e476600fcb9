"""The target ``native``: weights for the C++ engine of m3e-runtime."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import override

from m3e_export.checkpoint import Checkpoint
from m3e_export.native import save_native
from m3e_export.native.writer import FORMAT_VERSION
from m3e_export.precision.activations import RangeCodes
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules
from m3e_export.targets.base import Target
from m3e_runtime.backends import Backend
from m3e_runtime.backends.native import NativeCpu

__all__ = ["NativeTarget"]


class NativeTarget(Target):
    """Weights for the engine of this package."""

    format = "native"
    dialect = None
    batch_invariant = True
    half_arithmetic = False
    bfloat16 = True
    gives_token_outputs = True

    def __init__(self) -> None:
        self.requires = {"native": FORMAT_VERSION}
        self.int8 = Int8Rules(RangeCodes())

    @override
    def path(self, folder: Path, name: str, first: bool) -> Path:
        del first
        return folder / "native" / f"model_{name}.safetensors"

    @override
    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        sentence_config = checkpoint.sentence_config
        return save_native(
            checkpoint.spec,
            checkpoint.weights,
            plan,
            sentence_config.pooling,
            sentence_config.normalize,
            path,
            checkpoint.dense,
            checkpoint.state_weights,
            checkpoint.token_heads,
        )

    @override
    def load(self, path: Path, threads: int, token_types: bool = False) -> Backend:
        del token_types  # the file says it
        return NativeCpu(path, threads)
