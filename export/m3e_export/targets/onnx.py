"""The targets ``cpu`` and ``portable``: graphs for ONNX Runtime on a CPU, and for any engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.token_heads import TokenHeads
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import (
    Dialect,
)
from m3e_export.precision.activations import SymmetricCodes
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Rules
from m3e_export.targets.base import DialectName, Target
from m3e_runtime.backends import Backend
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.backends.token_heads import HEADS_FILE
from m3e_runtime.gpu.batch_shapes import PackedLayout

__all__ = ["OnnxTarget"]


class OnnxTarget(Target):
    """A graph in one of the dialects, for ONNX Runtime."""

    format: Literal["onnx", "native", "tensorrt"] = "onnx"
    batch_invariant = False

    def __init__(self, name: DialectName, dialect: type[Dialect], half_arithmetic: bool) -> None:
        self.dialect = name
        self.layout = dialect.texts_type.layout
        self.has_twin = dialect.twin is not None
        self.leaves_out_prompts = dialect.leaves_out_prompts
        self.half_arithmetic = half_arithmetic
        self.requires = {"onnxruntime": "1.23", "opset": "20"}
        self.int8 = Int8Rules(SymmetricCodes())
        self._dialect = dialect
        self.gives_token_outputs = dialect.gives_states

    @override
    def gives(self, heads: TokenHeads) -> bool:
        """Not weights of terms: ONNX Runtime would write logits of all tokens and terms first."""
        return self.gives_token_outputs and heads.terms is None

    def path(self, folder: Path, name: str, first: bool) -> Path:
        """The first is ``onnx/model.onnx``, which sentence-transformers and Optimum look for."""
        return folder / "onnx" / ("model.onnx" if first else f"model_{name}.onnx")

    @override
    def save(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        files = _save_graph(checkpoint, plan, self._dialect, path)
        heads = checkpoint.token_heads
        if heads is None or not self.gives_token_outputs:
            return files
        return [*files, _save_heads(heads, path.with_name(HEADS_FILE))]

    @override
    def save_twin(self, checkpoint: Checkpoint, plan: PrecisionPlan, path: Path) -> list[Path]:
        return _save_graph(checkpoint, plan, self._dialect.twin or self._dialect, path)

    @override
    def load(self, path: Path, threads: int, token_types: bool = False) -> Backend:
        # The gate rounds no sizes up, so the maximum length does not matter.
        layout = PackedLayout(max_length=1, token_types=token_types) if self.layout == "packed" else None
        return OnnxRuntimeCpu(path, threads, layout=layout, token_types=token_types)


def _save_heads(heads: TokenHeads, file: Path) -> Path:
    """Write the layers that the runtime applies to the states of tokens. All graphs share the file."""
    named = {"sparse": heads.sparse, "multi_vector": heads.multi_vector}
    arrays: dict[str, Any] = {
        name: np.vstack([each.weight, each.bias]) for name, each in named.items() if each is not None
    }
    np.savez(file, unit_length=np.array(heads.unit_length), **arrays)
    return file


def _save_graph(
    checkpoint: Checkpoint, plan: PrecisionPlan, dialect: type[Dialect], path: Path
) -> list[Path]:
    sentence_config = checkpoint.sentence_config
    options = GraphOptions(
        sentence_config.pooling,
        sentence_config.normalize,
        checkpoint.dense,
        sentence_config.include_prompt,
        checkpoint.state_weights,
    )
    return save_model(build_model(checkpoint.spec, checkpoint.weights, plan, dialect, options), path)
