"""The oracle without torch: the numpy forward pass with pooling and normalization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import Checkpoint
from m3e_export.inputs import ModelInputs, model_inputs
from m3e_export.oracle.numpy_forward import NumpyForward
from m3e_export.oracle.sentence import sentence_vector
from m3e_export.parallel import parallel_map
from m3e_runtime.outputs import normalize
from m3e_runtime.planning import plan_packed
from m3e_runtime.tokenization import TokenIds

__all__ = ["NumpyOracle", "pooled"]

_TOKENS = 512
"""Tokens of the texts that are computed together: enough for fast products."""


class NumpyOracle:
    """Float32 sentence vectors from the checkpoint's weights, without padding."""

    name = "numpy float32"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._tokenizer = checkpoint.text_tokenizer()
        self._forward = NumpyForward(checkpoint.spec, checkpoint.weights)

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each."""
        sentence_config = self._checkpoint.sentence_config
        left_out = 0 if sentence_config.include_prompt else self._tokenizer.prompt_length(prompt)
        token_ids = self._tokenizer.encode_batch([prompt + text for text in texts])
        groups = [batch.indices for batch in plan_packed(np.array([len(ids) for ids in token_ids]), _TOKENS)]
        found = parallel_map(lambda group: self._vectors([token_ids[at] for at in group], left_out), groups)
        vectors = np.empty((len(texts), self._checkpoint.dimension), np.float32)
        for group, here in zip(groups, found, strict=True):
            vectors[group] = here
            tick(len(group))
        return normalize(vectors) if sentence_config.normalize else vectors

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[npt.NDArray[np.float32]]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        found = []
        for ids in self._tokenizer.encode_batch(texts):
            found.append(self._forward(ids))
            tick(1)
        return found

    def logits(
        self, texts: Sequence[str], passages: Sequence[str], tick: Callable[[int], object]
    ) -> npt.NDArray[np.float32]:
        """Logits of ``texts``, or of pairs with ``passages`` if there are any, float32 ``[n, labels]``."""
        inputs = model_inputs(self._checkpoint, texts, passages)
        groups = [batch.indices for batch in plan_packed(inputs.lengths, _TOKENS)]
        logits = np.empty((len(texts), self._checkpoint.dimension), np.float32)
        for group, here in zip(
            groups, parallel_map(lambda at: self._logits(inputs.at(at)), groups), strict=True
        ):
            logits[group] = here
            tick(len(group))
        return logits

    def _logits(self, inputs: ModelInputs) -> npt.NDArray[np.float32]:
        states = self._forward.packed_states(inputs.ids, inputs.types)
        return pooled(self._checkpoint, self._forward, inputs.ids, states)

    def _vectors(self, texts: Sequence[TokenIds], left_out: int) -> npt.NDArray[np.float32]:
        states = self._forward.packed_states(texts)
        return pooled(self._checkpoint, self._forward, texts, states, left_out)


def pooled(
    checkpoint: Checkpoint,
    forward: NumpyForward,
    texts: Sequence[TokenIds],
    states: Sequence[npt.NDArray[np.float32]],
    left_out: int = 0,
) -> npt.NDArray[np.float32]:
    """Vectors of packed ``texts`` before normalization, float32 ``[n, dimension]``.

    ``states`` are as in :func:`sentence_vector`, but for all texts, one after the other. ``left_out`` is the
    number of tokens at the start of each text that are not pooled.
    """
    ends = accumulate(map(len, texts), initial=0)
    return np.stack(
        [
            sentence_vector(
                checkpoint.sentence_config.pooling,
                checkpoint.dense,
                forward.words(ids),
                [each[begin:end] for each in states],
                left_out,
                checkpoint.state_weights,
            )
            for ids, (begin, end) in zip(texts, pairwise(ends), strict=True)
        ]
    )
