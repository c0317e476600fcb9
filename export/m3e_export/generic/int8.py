"""The int8 search for a graph: mixes of int8 and fp16, the smallest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from m3e_export.generic.matrices import Matrix
from m3e_export.precision.activations import SymmetricCodes
from m3e_export.precision.input_sample import InputSample
from m3e_export.precision.int8 import QuantizedLinear, quantize_linear
from m3e_export.precision.search import fewer_and_fewer
from m3e_export.precision.smoothing import input_statistics, relative_error, smoothing_factors

__all__ = ["int8_mixes"]

_CODES = SymmetricCodes()
_STRENGTHS = (None, 0.5, 0.6, 0.7)  # None is no smoothing


def int8_mixes(
    matrices: list[Matrix], samples: Mapping[str, InputSample], tick: Callable[[int], object]
) -> Iterator[dict[str, QuantizedLinear]]:
    """The quantized matrices by name: first all, then without the most sensitive ones.

    The sensitivity of a matrix is its relative output error on the sampled inputs. The same error chooses its
    smoothing. ``tick`` is called with 1 after each matrix.
    """
    ranked = []
    for matrix in matrices:
        ranked.append(_rounded(matrix, samples[matrix.linear.name]))
        tick(1)
    ranked.sort(key=lambda pair: -pair[0])
    for left in fewer_and_fewer(ranked):
        yield {quantized.name: quantized for _, quantized in left}


def _rounded(matrix: Matrix, sample: InputSample) -> tuple[float, QuantizedLinear]:
    """The error and the quantized matrix. The rounding of each weight compensates for those before it."""
    linear, shift = matrix.linear, matrix.shift

    def error(quantized: QuantizedLinear) -> float:
        return relative_error(linear, quantized, _CODES, sample)

    factors = [
        None if strength is None else smoothing_factors(linear.weight, sample.largest, strength)
        for strength in _STRENGTHS
    ]
    errors = [error(quantize_linear(linear, each, shift, _CODES.together)) for each in factors]
    best = factors[int(np.argmin(errors))]
    known = input_statistics(_CODES, sample, best, shift)
    quantized = quantize_linear(linear, best, shift, _CODES.together, known)
    return error(quantized), quantized
