"""The search for an int8 plan: how strongly to smooth, and which matrices to leave in float."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.checkpoint import Checkpoint
from m3e_export.inputs import ModelInputs
from m3e_export.parallel import parallel_map
from m3e_export.precision.activations import ActivationCodes
from m3e_export.precision.calibration import Calibration
from m3e_export.precision.embeddings import FloatEmbeddings, Int8Embeddings
from m3e_export.precision.int8 import QuantizedLinear, quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.smoothing import (
    fold_smoothing,
    input_statistics,
    relative_error,
    smoothing_factors,
)
from m3e_runtime.outputs import normalize

__all__ = ["Int8Rules", "Int8Search", "fewer_and_fewer", "float_plan"]

Item = TypeVar("Item")

Array = npt.NDArray[np.float32]
Strength = float | None
RunPlan = Callable[[PrecisionPlan, ModelInputs], Array]

_STRENGTHS: dict[str, tuple[Strength, ...]] = {
    "qkv": (0.7, 0.5, 0.6, 0.8),
    "attention_output": (0.3, None, 0.5),
    "intermediate": (0.5, 0.4, 0.6, 0.7),
    "output": (0.5, None, 0.4, 0.6),
}
"""Smoothing strengths to try for each kind of matrix. The first is the start; None is no smoothing."""


def float_plan(precision: str, half_arithmetic: bool = False) -> PrecisionPlan:
    """The plan of fp32 or fp16. Without ``half_arithmetic``, fp16 weights are computed with in float32."""
    if precision == "fp32":
        return PrecisionPlan()
    compute = np.float16 if half_arithmetic else np.float32
    return PrecisionPlan(np.float16, compute, FloatEmbeddings(np.float16))


@dataclass(frozen=True)
class Int8Rules:
    """What int8 means for a target.

    ``activations`` is how it quantizes the inputs of a matrix. ``kinds`` are the kinds of matrices that gain
    from int8. ``floats`` is the plan of everything else.
    """

    activations: ActivationCodes
    kinds: tuple[str, ...] = tuple(_STRENGTHS)
    floats: PrecisionPlan = field(
        default_factory=lambda: PrecisionPlan(np.float16, np.float32, Int8Embeddings())
    )


class Int8Search:
    """The search for one checkpoint and one target."""

    def __init__(
        self, checkpoint: Checkpoint, calibration: Calibration, rules: Int8Rules, run: RunPlan
    ) -> None:
        """``run`` computes the sentence vectors or logits, ``[n, d]``, of inputs with a plan."""
        self._rules = rules
        self._strengths = {kind: _STRENGTHS[kind] for kind in rules.kinds}
        self._spec = checkpoint.spec
        self._layers = checkpoint.weights.stored_layers()
        self._linears = [linear for linear in checkpoint.weights.linears() if _kind(linear) in rules.kinds]
        self._calibration = calibration
        self._trial = _shortest(calibration.inputs.lengths)
        self._error_of = _cosine_distance if checkpoint.classification is None else _root_mean_square
        self._run = run

    @property
    def steps(self) -> int:
        """The number of steps before the first plan: trials of smoothing strengths, and matrices to round."""
        trials = 1 + sum(len(strengths) - 1 for strengths in self._strengths.values())
        return trials + len(self._linears)

    def plans(self, tick: Callable[[int], object]) -> Iterator[PrecisionPlan]:
        """Plans from all matrices in int8 to none. The most sensitive matrices leave first.

        The sensitivity of a matrix is its relative output error on the sampled inputs. ``tick`` is called
        with 1 after each of the :attr:`steps`.
        """
        strengths = self._best_strengths(tick)
        ranked = []
        for rounded in parallel_map(
            lambda linear: self._rounded(linear, strengths[_kind(linear)]), self._linears
        ):
            ranked.append(rounded)
            tick(1)
        ranked.sort(key=lambda pair: -pair[0])
        for left in fewer_and_fewer(ranked):
            yield self._plan({quantized.name: quantized for _, quantized in left})

    def _rounded(self, linear: Linear, strength: Strength) -> tuple[float, QuantizedLinear]:
        """The relative error and the quantized matrix, whose rounding compensates for earlier errors."""
        quantized = self._quantize(linear, strength, compensate=True)
        sample = self._calibration.samples[linear.name]
        return relative_error(linear, quantized, self._rules.activations, sample), quantized

    def _best_strengths(self, tick: Callable[[int], object]) -> dict[str, Strength]:
        """The strengths with the lowest error of the whole model, by one pass of coordinate descent.

        The error of a single matrix says little about the sentence vector.
        """
        best = {kind: strengths[0] for kind, strengths in self._strengths.items()}
        quantized = {kind: self._nearest(kind, strength) for kind, strength in best.items()}
        lowest = self._error(quantized)
        tick(1)
        for kind, strengths in self._strengths.items():
            for strength in strengths[1:]:
                trial = {**quantized, kind: self._nearest(kind, strength)}
                error = self._error(trial)
                tick(1)
                if error < lowest:
                    best[kind], quantized, lowest = strength, trial, error
        return best

    def _nearest(self, kind: str, strength: Strength) -> list[QuantizedLinear]:
        """The matrices of ``kind``, rounded to the nearest codes."""
        linears = [linear for linear in self._linears if _kind(linear) == kind]
        return list(parallel_map(lambda linear: self._quantize(linear, strength), linears))

    def _error(self, quantized: dict[str, list[QuantizedLinear]]) -> float:
        """The distance from the original's vectors or logits on the texts of trials."""
        plan = self._plan({linear.name: linear for kind in quantized.values() for linear in kind})
        found = self._run(plan, self._calibration.inputs.at(self._trial))
        return self._error_of(found, self._calibration.vectors[self._trial])

    def _plan(self, quantized: dict[str, QuantizedLinear]) -> PrecisionPlan:
        for first, second in self._foldable():
            if first in quantized and second in quantized:
                folded = fold_smoothing(quantized[first], quantized[second])
                quantized.update(zip((first, second), folded, strict=True))
        return dataclasses.replace(self._rules.floats, quantized=quantized)

    def _foldable(self) -> Iterator[tuple[str, str]]:
        """Matrices whose last columns can hold the smoothing of another, and the other."""
        for layer in self._layers:
            yield layer.qkv.name, layer.attention_output.name
            if self._spec.gated:
                yield layer.intermediate.name, layer.output.name

    def _quantize(self, linear: Linear, strength: Strength, compensate: bool = False) -> QuantizedLinear:
        sample = self._calibration.samples[linear.name]
        shift = self._shift(_kind(linear))
        factors = None if strength is None else smoothing_factors(linear.weight, sample.largest, strength)
        known = input_statistics(self._rules.activations, sample, factors, shift) if compensate else None
        quantized = quantize_linear(linear, factors, shift, self._rules.activations.together, known)
        if not self._rules.activations.static:
            return quantized
        largest = sample.largest if factors is None else sample.largest * factors
        return dataclasses.replace(quantized, input_scale=float(largest.max()) / 127)

    def _shift(self, kind: str) -> float | None:
        """See :meth:`ActivationCodes.shift`. A gated product has both signs, whatever its activation."""
        if self._spec.gated:
            return None
        return self._rules.activations.shift(kind, self._spec.activation)


def _cosine_distance(found: Array, expected: Array) -> float:
    """The mean cosine distance of the rows."""
    return float(1 - (normalize(found) * normalize(expected)).sum(axis=1).mean())


def _root_mean_square(found: Array, expected: Array) -> float:
    """Of the differences of logits: a cosine of a single logit would be its sign."""
    return float(np.sqrt(np.square(found - expected).mean()))


def _shortest(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """The texts to run in trials: three quarters. The longest cost most, and count no more than others."""
    order = np.argsort(lengths, kind="stable")
    return order[: -(-len(order) * 3 // 4)]


def fewer_and_fewer(ranked: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """``ranked`` without its first 0, 1, 2, 4, 8 … items, and finally without all.

    So few candidates are built, and at most twice as many matrices leave int8 as necessary.
    """
    out = 0
    while out < len(ranked):
        yield ranked[out:]
        out = max(1, out * 2)
    yield ranked[len(ranked) :]


def _kind(linear: Linear) -> str:
    return linear.name.rsplit(".", 1)[-1]
