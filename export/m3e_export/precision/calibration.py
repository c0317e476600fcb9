"""Running the original model on the calibration texts, to sample the inputs of every matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import Linear
from m3e_export.checkpoint import Checkpoint
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.oracle.sentence import sentence_vector
from m3e_runtime.tokenization import TokenIds

__all__ = ["Calibration", "InputSample", "calibrate"]

_ROWS = 384
"""Rows kept for each matrix: enough to rank the matrices, and small compared with the model."""

_PER_TEXT = 8

Array = npt.NDArray[np.float32]


class InputSample:
    """The inputs of one matrix: a sample of rows, and over all rows the maxima, means and covariances."""

    def __init__(self, inputs: int) -> None:
        self.largest: Array = np.zeros(inputs, dtype=np.float32)
        self._rows: list[Array] = []
        self._count = 0
        self._sum = np.zeros(inputs, dtype=np.float64)
        self._products: Array = np.zeros((inputs, inputs), dtype=np.float32)

    def add(self, x: Array, random: np.random.Generator) -> None:
        """Add the rows of ``x``, ``[length, inputs]``."""
        np.maximum(self.largest, np.abs(x).max(axis=0), out=self.largest)
        self._count += len(x)
        self._sum += x.sum(axis=0)
        self._products += x.T @ x
        chosen = random.choice(len(x), size=min(_PER_TEXT, len(x)), replace=False)
        self._rows.append(x[chosen])

    def rows(self) -> Array:
        """A sample of rows, float32 ``[rows, inputs]``.

        It is spread over the texts, and over layers that share the matrix. A constant step
        could hit the same layer in every text.
        """
        rows = np.concatenate(self._rows)
        chosen: Array = rows[np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int)]
        return chosen

    def mean(self) -> Array:
        """Mean of each channel, float32 ``[inputs]``."""
        mean: Array = (self._sum / self._count).astype(np.float32)
        return mean

    def covariance(self) -> Array:
        """Covariances of the channels, float32 ``[inputs, inputs]``."""
        mean = self.mean()
        covariance: Array = self._products / np.float32(self._count) - np.outer(mean, mean)
        return covariance


@dataclass
class Calibration:
    """Token ids of the texts, their vectors by the original, float32 ``[n, d]``, and the inputs by matrix."""

    token_ids: list[TokenIds]
    vectors: Array
    samples: dict[str, InputSample] = field(default_factory=dict)


def calibrate(checkpoint: Checkpoint, texts: Sequence[str], tick: Callable[[int], object]) -> Calibration:
    """Run ``texts`` through the numpy forward pass; ``tick`` is called with 1 after each."""
    random = np.random.default_rng(0)  # the same texts give the same bundle
    samples: dict[str, InputSample] = {}

    def observe(linear: Linear, x: Array) -> None:
        samples.setdefault(linear.name, InputSample(x.shape[1])).add(x, random)

    forward = NumpyForward(checkpoint.spec, checkpoint.weights, observe)
    token_ids = checkpoint.text_tokenizer().encode_batch(texts)
    vectors = []
    for ids in token_ids:
        states = forward.states(ids)
        vectors.append(
            sentence_vector(
                checkpoint.sentence_config.pooling,
                checkpoint.dense,
                forward.words(ids),
                states,
                state_weights=checkpoint.state_weights,
            )
        )
        tick(1)
    return Calibration(token_ids, np.stack(vectors), samples)
