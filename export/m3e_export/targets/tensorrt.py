"""The targets ``tensorrt`` and ``tensorrt-rtx``: engines, with the graphs that they are built from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.graph.dialects import (
    Dialect,
    TensorRtDialect,
    TensorRtPackedDialect,
)
from m3e_export.precision.activations import StaticCodes
from m3e_export.precision.search import Int8Rules, float_plan
from m3e_export.targets.base import Target
from m3e_export.targets.onnx import OnnxTarget
from m3e_runtime.gpu.tensorrt import EngineOptions, build_engine, choose_capabilities, find_package
from m3e_runtime.gpu.tensorrt.packed import why_not_packed

__all__ = ["TensorRtTarget"]

logger = logging.getLogger(__name__)

_AMPERE = "8.0"
"""The lowest compute capability of a hardware-compatible engine."""


class TensorRtTarget(OnnxTarget):
    """An engine of TensorRT and the graph that it is built from.

    The gate runs the graph in ONNX Runtime, because an engine runs on its own kind of GPU only. Two builds of
    an engine differ in their bytes.
    """

    format = "tensorrt"
    judged = "graph"

    def __init__(self, package: str, dialect: type[Dialect] = TensorRtDialect) -> None:
        super().__init__("tensorrt", dialect, half_arithmetic=True)
        self.requires = {}  # known after the build
        # TensorRT splits the product of query, key and value, and then multiplies floats.
        gaining = ("intermediate", "output", "attention_output")
        self.int8 = Int8Rules(StaticCodes(), gaining, float_plan("fp16", half_arithmetic=True))
        self._package = package

    @override
    def path(self, folder: Path, name: str, first: bool) -> Path:
        del first
        return folder / "tensorrt" / f"model_{name}.onnx"

    @override
    def check(self, options: EngineOptions) -> None:
        choose_capabilities(find_package(self._package), options.compute_capabilities)

    def specialize(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> Target:
        """The variant for packed batches, without padding, if TensorRT has a kernel for it."""
        reason = self._why_not_packed(checkpoint, precision, options)
        if reason is None:
            return TensorRtTarget(self._package, TensorRtPackedDialect)
        logger.info("%s %s: batches are padded, not packed: %s.", precision, self._package, reason)
        return self

    def _why_not_packed(self, checkpoint: Checkpoint, precision: str, options: EngineOptions) -> str | None:
        if precision == "fp32":
            return "packed attention needs fp16"
        if "max" in pooling_spec(checkpoint.sentence_config.pooling).reductions:
            return "the pooling 'max' needs padded batches"
        if checkpoint.weights.relative_bias is not None:
            return "relative positions need padded batches"
        if not all(attention.full for attention in checkpoint.spec.layer_attention):
            return "windows of attention need padded batches"
        package, spec = find_package(self._package), checkpoint.spec
        capabilities = choose_capabilities(package, options.compute_capabilities)
        return why_not_packed(package, spec.heads, spec.head_size, capabilities)

    def build(self, files: Sequence[Path], options: EngineOptions) -> tuple[list[Path], dict[str, str]]:
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
