"""The oracle of late-interaction models: ``MultiVectorEncoder(folder)`` of sentence-transformers.

It goes from text to multi-vectors by itself, so the gate finds a setting that this package misreads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.oracle.sentence_transformers_oracle import (
    found_weights,
    load_original,
    longest_input,
    require_original,
)
from m3e_runtime.late_interaction import Task

__all__ = ["MultiVectorOracle", "load_multi_vector_oracle"]

_TOGETHER = 16
"""Texts that run together. A mask hides their padding from each other."""

Array = npt.NDArray[np.float32]


def load_multi_vector_oracle(checkpoint: BaseCheckpoint, name: str) -> MultiVectorOracle:
    """The oracle for ``checkpoint``; ``name`` is the option ``--oracle``.

    Raises:
        CheckpointError: sentence-transformers cannot load the folder, or does not find the weights.
        DependencyMissingError: its version has no MultiVectorEncoder.
        OptionError: ``name`` is ``numpy``.
    """
    require_original("MultiVectorEncoder", "6.1", name)
    oracle = MultiVectorOracle(checkpoint)
    if not oracle.has_weights:
        raise CheckpointError(f"{checkpoint.folder}: sentence-transformers does not find these weights.")
    return oracle


class MultiVectorOracle:
    """Float32 multi-vectors, and means of states in place of sentence vectors."""

    def __init__(self, checkpoint: BaseCheckpoint) -> None:
        import sentence_transformers
        import torch

        self.name = f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"
        self._folder = checkpoint.folder
        self._transformer = checkpoint.sentence_config.transformer
        self._model = load_original(checkpoint, "MultiVectorEncoder")
        self._model.float()
        longest = min(self._model.max_seq_length or math.inf, longest_input(checkpoint))
        if longest < math.inf:
            self._model.max_seq_length = int(longest)

    @property
    def has_weights(self) -> bool:
        """Whether sentence-transformers found the checkpoint's tensors, and did not take random ones."""
        return found_weights(self._model[0].auto_model, self._transformer)

    def encode(self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = "") -> Array:
        """Means of the states of ``texts``, float32 ``[n, hidden]``, with ``prompt`` before each."""
        return np.stack([each.mean(axis=0) for each in self.states([prompt + text for text in texts], tick)])

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[Array]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        import torch

        found = []
        for some in _groups(texts):
            with torch.inference_mode():
                features = self._model[0](self._model.preprocess(some))
            masks = features["attention_mask"].bool()
            found += [
                states[mask].numpy() for states, mask in zip(features["token_embeddings"], masks, strict=True)
            ]
            tick(len(some))
        return found

    def multi_vectors(self, texts: Sequence[str], task: Task, tick: Callable[[int], object]) -> list[Array]:
        """What ``encode_query`` or ``encode_document`` gives, float32 ``[tokens, size]`` for each text.

        Raises:
            CheckpointError: the model fails.
        """
        encode: Any = getattr(self._model, f"encode_{task}")
        found: list[Array] = []
        for some in _groups(texts):
            try:
                found += encode(some, convert_to_numpy=True, show_progress_bar=False)
            except Exception as error:  # the model's code may raise anything
                raise CheckpointError(
                    f"{self._folder}: the original model fails on a {task}: {error}"
                ) from error
            tick(len(some))
        return found


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _TOGETHER):
        yield list(texts[start : start + _TOGETHER])
