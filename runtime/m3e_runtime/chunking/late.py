"""Late chunking: a model reads many chunks at once, and a chunk's vector is the mean of its states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Manifest
from m3e_runtime.outputs import normalize
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["LatePooling"]

Vectors = npt.NDArray[np.float32]

StateRun = Callable[[TokenIds], tuple[Vectors, Vectors]]
"""Runs a text: its vector, float32 ``[dimension]``, and its tokens' states, ``[tokens, hidden]``."""

_TOLERANCE = 1e-3


class LatePooling:
    """Makes the vectors of chunks of the states of a window's tokens, as the model pools those of a text.

    Args:
        tokenizer: the model's tokenizer.
        manifest: says how the model pools.
        run: computes one text.

    Raises:
        OptionError: the model's vectors are not the mean of its tokens' states, normalized or not.
    """

    def __init__(self, tokenizer: TextTokenizer, manifest: Manifest, run: StateRun) -> None:
        self._normalize = manifest.normalize
        if manifest.pooling != "mean":
            raise OptionError(
                f"late chunking needs mean pooling, and this model pools by {manifest.pooling}; leave it out."
            )
        self._check(*run(tokenizer.encode("late chunking")))

    def __call__(self, states: Vectors, tokens: Sequence[tuple[int, int]]) -> Vectors:
        """The vectors of chunks.

        Args:
            states: of the tokens of a window, float32 ``[tokens, hidden]``.
            tokens: where the tokens of each chunk begin and end.

        Returns:
            float32 ``[chunks, hidden]``.
        """
        means = np.stack([states[begin:end].mean(axis=0) for begin, end in tokens])
        return normalize(means) if self._normalize else means

    def _check(self, vector: Vectors, states: Vectors) -> None:
        """Compare the pooling here with the model's on a text: layers behind the pooling change vectors."""
        (pooled,) = self(states, [(0, len(states))])
        if pooled.shape != vector.shape or not np.allclose(
            pooled, vector, atol=_TOLERANCE * float(np.abs(vector).max())
        ):
            raise OptionError(
                "late chunking needs a model without layers behind the pooling, and this one has some; leave "
                "it out."
            )
