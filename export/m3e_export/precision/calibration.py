"""Real inputs of every matrix, sampled while the original model reads the calibration texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.checkpoint import Checkpoint
from m3e_export.oracle.numpy_forward import NumpyForward

__all__ = ["InputSample", "sample_inputs"]

ROWS = 384
"""Token vectors kept for each matrix: enough to rank settings, small beside the model."""

_PER_TEXT = 8

Array = npt.NDArray[np.float32]


class InputSample:
    """Inputs of one matrix: some rows, and the largest magnitude of each channel over all rows."""

    def __init__(self, inputs: int) -> None:
        self.largest: Array = np.zeros(inputs, dtype=np.float32)
        self._rows: list[Array] = []

    def add(self, x: Array, random: np.random.Generator) -> None:
        """Take note of ``x`` (``[length, inputs]``)."""
        np.maximum(self.largest, np.abs(x).max(axis=0), out=self.largest)
        chosen = random.choice(len(x), size=min(_PER_TEXT, len(x)), replace=False)
        self._rows.append(x[chosen])

    def rows(self) -> Array:
        """At most :data:`ROWS` rows, spread over the texts; float32 ``[rows, inputs]``."""
        rows = np.concatenate(self._rows)
        step = max(1, len(rows) // ROWS)
        return rows[::step][:ROWS]


def sample_inputs(
    checkpoint: Checkpoint, texts: Sequence[str], tick: Callable[[int], object]
) -> dict[str, InputSample]:
    """Run ``texts`` through the numpy forward pass and sample the inputs of every matrix by its name."""
    random = np.random.default_rng(0)  # the same texts give the same bundle
    samples: dict[str, InputSample] = {}

    def observe(linear: Linear, x: Array) -> None:
        samples.setdefault(linear.name, InputSample(x.shape[1])).add(x, random)

    forward = NumpyForward(checkpoint.spec, checkpoint.weights, observe)
    for ids in checkpoint.text_tokenizer().encode_batch(texts):
        forward(ids)
        tick(1)
    return samples
