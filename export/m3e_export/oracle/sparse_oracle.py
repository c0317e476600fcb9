"""The oracle of SPLADE models: ``SparseEncoder(folder)`` of sentence-transformers.

It goes from text to weights of terms by itself, so the gate finds a setting that this package misreads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    task_of_route,
)
from m3e_runtime.token_outputs import SparseVector

__all__ = ["SparseOracle", "load_sparse_oracle"]

Array = npt.NDArray[np.float32]


def load_sparse_oracle(checkpoint: BaseCheckpoint, name: str) -> SparseOracle:
    """The oracle for ``checkpoint``; ``name`` is the option ``--oracle``.

    Raises:
        CheckpointError: sentence-transformers cannot load the folder, or does not find the weights.
        DependencyMissingError: its version has no SparseEncoder.
        OptionError: ``name`` is ``numpy``.
    """
    require_original("SparseEncoder", "5.0", name)
    oracle = SparseOracle(checkpoint)
    if not oracle.has_weights:
        raise CheckpointError(f"{checkpoint.folder}: sentence-transformers does not find these weights.")
    return oracle


class SparseOracle:
    """Float32 weights of terms, and means of states in place of sentence vectors."""

    def __init__(self, checkpoint: BaseCheckpoint) -> None:
        import sentence_transformers
        import torch

        self.name = f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"
        self._folder = checkpoint.folder
        self._transformer = checkpoint.sentence_config.transformer
        self._model = load_original(checkpoint, "SparseEncoder")
        self._model.float()
        route = checkpoint.sentence_config.route
        self._task = task_of_route(self._model, route)
        first = self._model[0]
        self._first = first if route is None else first.sub_modules[route.name][0]
        self._model.max_seq_length = int(
            min(self._model.max_seq_length or 1 << 20, longest_input(checkpoint))
        )

    @property
    def has_weights(self) -> bool:
        """Whether sentence-transformers found the checkpoint's tensors, and did not take random ones."""
        return found_weights(self._first.auto_model, self._transformer)

    def encode(self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = "") -> Array:
        """Means of the states of ``texts``, float32 ``[n, hidden]``, with ``prompt`` before each."""
        return np.stack([each.mean(axis=0) for each in self.states([prompt + text for text in texts], tick)])

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[Array]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        import torch

        encoder: Any = self._first.auto_model.base_model
        found = []
        for text in texts:
            features = self._model.preprocess([text], **self._task)
            given = {key: features[key] for key in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                found.append(encoder(**given).last_hidden_state[0].numpy())
            tick(1)
        return found

    def sparse(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[SparseVector]:
        """What ``SparseEncoder.encode`` gives for each text, without a prompt.

        Raises:
            CheckpointError: the model fails.
        """
        found = []
        for text in texts:
            try:
                weights = self._model.encode(
                    [text],
                    prompt="",
                    convert_to_sparse_tensor=False,
                    show_progress_bar=False,
                    **self._task,
                )
            except Exception as error:  # the model's code may raise anything
                raise CheckpointError(f"{self._folder}: the original model fails: {error}") from error
            found.append(SparseVector.of_dense(np.asarray(weights[0], dtype=np.float32)))
            tick(1)
        return found
