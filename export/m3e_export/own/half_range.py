"""Keeping in float32 what half precision cannot hold."""

from __future__ import annotations

import functools

import numpy as np

from m3e_export.checkpoint import Checkpoint
from m3e_export.inputs import ModelInputs
from m3e_export.precision.half import overflowing, too_large, widened
from m3e_export.precision.plan import PrecisionPlan
from m3e_runtime.progress import progress_bar

__all__ = ["HalfRange"]

_SAMPLE = 64
"""Texts that are searched for overflow. Large activations come from the weights, in nearly every text."""


class HalfRange:
    """The range of fp16, 65504, beside the numbers of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint, inputs: ModelInputs) -> None:
        """``inputs`` are texts or pairs to look for overflow in."""
        self._checkpoint = checkpoint
        self._inputs = inputs

    def fitted(self, plan: PrecisionPlan) -> PrecisionPlan:
        """``plan`` with every matrix and table in float32 that does not fit into fp16.

        The gate does not find all of them: on a CPU, ONNX Runtime computes much of fp16 in float32.
        """
        if plan.storage == np.float32:
            return plan
        plan = widened(plan, self._too_large)
        return widened(plan, self._overflowing) if plan.compute == np.float16 else plan

    @functools.cached_property
    def _too_large(self) -> frozenset[str]:
        return too_large(self._checkpoint.weights)

    @functools.cached_property
    def _overflowing(self) -> frozenset[str]:
        count = min(_SAMPLE, len(self._inputs))
        places = np.linspace(0, len(self._inputs) - 1, count).astype(int)
        with progress_bar(count, "text", "Looking for overflow") as bar:
            return overflowing(self._checkpoint, self._inputs.at(places), bar.update)
