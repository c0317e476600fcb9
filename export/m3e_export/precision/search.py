"""From a precision's name to plans, cheapest first, until one passes the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from m3e_export.checkpoint import Checkpoint
from m3e_export.precision.calibration import sample_inputs
from m3e_export.precision.embeddings import FloatEmbeddings, Int8Embeddings
from m3e_export.precision.int8 import GELU_SHIFT
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.smoothing import Candidate, best_quantization

__all__ = ["float_plan", "int8_plans"]


def float_plan(precision: str, half_arithmetic: bool = False) -> PrecisionPlan:
    """fp32, or fp16 weights: widened for the arithmetic, unless the target computes in fp16 itself."""
    if precision == "fp32":
        return PrecisionPlan()
    compute = np.float16 if half_arithmetic else np.float32
    return PrecisionPlan(np.float16, compute, FloatEmbeddings(np.float16))


def int8_plans(
    checkpoint: Checkpoint, texts: Sequence[str], tick: Callable[[int], object]
) -> Iterator[PrecisionPlan]:
    """Plans from all matrices in int8 to none, the most sensitive ones leaving first.

    Sensitivity is the relative output error of the matrix on the calibration texts. The number kept in
    fp16 grows 0, 1, 2, 4, 8 …: few builds, and at most twice as many kept as needed.
    """
    samples = sample_inputs(checkpoint, texts, tick)
    candidates: list[Candidate] = []
    for layer in checkpoint.weights.layers:
        for linear in layer.linears():
            shift = GELU_SHIFT if linear is layer.output else 0.0
            candidates.append(best_quantization(linear, samples[linear.name], shift))
    candidates.sort(key=lambda candidate: -candidate.error)
    kept = 0
    while True:
        quantized = {c.linear.name: c.linear for c in candidates[kept:]}
        yield PrecisionPlan(np.float16, np.float32, Int8Embeddings(), quantized)
        if kept >= len(candidates):
            return
        kept = min(max(1, kept * 2), len(candidates))
