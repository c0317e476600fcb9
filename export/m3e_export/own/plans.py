"""The precision plans to try for an artifact: few for fp32 and fp16, the int8 search's for int8."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from m3e_export.checkpoint import Checkpoint
from m3e_export.inputs import ModelInputs, model_inputs
from m3e_export.own.half_range import HalfRange
from m3e_export.own.vectors import Vectors
from m3e_export.precision.calibration import Calibration, calibrate
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import Int8Search, float_plan
from m3e_export.targets import Target
from m3e_export.texts.judged import Judged
from m3e_runtime.manifest import Precision
from m3e_runtime.progress import progress_bar

__all__ = ["Plans"]


class Plans:
    """Makes plans for one checkpoint. Calibration runs once, and only for int8."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        inputs: ModelInputs,
        calibration: Judged,
        run: Callable[[Target, PrecisionPlan, ModelInputs], Vectors],
        folder: Path,
        bfloat16: bool = True,
    ) -> None:
        """Keep what the plans depend on.

        Args:
            checkpoint: the model.
            inputs: the gate's texts or pairs, to find overflow with.
            calibration: texts or pairs to calibrate int8 with.
            run: computes the vectors of inputs with a plan, as a target would.
            folder: for temporary files without names.
            bfloat16: whether fp16 may multiply in bfloat16.
        """
        self._checkpoint = checkpoint
        self._half_range = HalfRange(checkpoint, inputs)
        self._calibration_texts = calibration
        self._run = run
        self._folder = folder
        self._bfloat16 = bfloat16

    def of(self, precision: Precision, target: Target, target_name: str) -> Iterator[PrecisionPlan]:
        """Plans for ``target``, the fastest first. ``target_name`` is for the progress bar."""
        if precision == "int8":
            yield from self._int8(target, target_name)
        else:
            yield from self._floats(precision, target)

    def _floats(self, precision: Precision, target: Target) -> Iterator[PrecisionPlan]:
        plan = self._half_range.fitted(float_plan(precision, half_arithmetic=target.half_arithmetic))
        if precision == "fp16" and target.bfloat16 and self._bfloat16:
            yield dataclasses.replace(plan, bfloat16=True)
        yield plan

    def _int8(self, target: Target, target_name: str) -> Iterator[PrecisionPlan]:
        def run(plan: PrecisionPlan, inputs: ModelInputs) -> Vectors:
            # fp16 arithmetic is several times slower on a CPU, and does not change the choice.
            plan = self._half_range.fitted(dataclasses.replace(plan, compute=np.float32))
            return self._run(target, plan, inputs)

        search = Int8Search(self._checkpoint, self._calibration, target.int8, run)
        with progress_bar(search.steps, "step", f"Searching int8 {target_name}") as bar:
            for plan in search.plans(bar.update):
                yield self._half_range.fitted(plan)

    @functools.cached_property
    def _calibration(self) -> Calibration:
        texts = self._calibration_texts
        inputs = model_inputs(self._checkpoint, texts.texts, texts.passages)
        with progress_bar(self._checkpoint.spec.layers, "layer", "Calibrating") as bar:
            return calibrate(self._checkpoint, inputs, bar.update, self._folder)
