"""The oracle without torch: the numpy forward pass with pooling and normalization."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import Checkpoint
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.oracle.sentence import sentence_vector
from m3e_runtime.outputs import normalize

__all__ = ["NumpyOracle"]


class NumpyOracle:
    """Float32 sentence vectors from the checkpoint's weights, one text at a time."""

    name = "numpy float32"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._sentence_config = checkpoint.sentence_config
        self._dense = checkpoint.dense
        self._state_weights = checkpoint.state_weights
        self._tokenizer = checkpoint.text_tokenizer()
        self._forward = NumpyForward(checkpoint.spec, checkpoint.weights)

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each."""
        left_out = 0 if self._sentence_config.include_prompt else self._tokenizer.prompt_length(prompt)
        vectors = []
        for ids in self._tokenizer.encode_batch([prompt + text for text in texts]):
            words, states = self._forward.words(ids), self._forward.states(ids)
            vectors.append(
                sentence_vector(
                    self._sentence_config.pooling, self._dense, words, states, left_out, self._state_weights
                )
            )
            tick(1)
        stacked = np.stack(vectors)
        return normalize(stacked) if self._sentence_config.normalize else stacked
