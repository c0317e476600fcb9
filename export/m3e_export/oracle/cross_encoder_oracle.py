"""The oracle for rerankers and classifiers: sentence-transformers' CrossEncoder of the folder.

It uses nothing that this package has read from the folder, but the number of positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.oracle.equal_lengths import equal_lengths
from m3e_export.oracle.sentence_transformers_oracle import found_weights, load_original, longest_input

__all__ = ["CrossEncoderOracle"]


class CrossEncoderOracle:
    """Float32 logits of ``CrossEncoder(folder)``, without padding."""

    def __init__(self, checkpoint: BaseCheckpoint, max_length: int | None = None) -> None:
        """Load the checkpoint. ``max_length`` replaces its longest input.

        Raises:
            CheckpointError: sentence-transformers cannot load the folder.
        """
        import sentence_transformers
        import torch

        self.name = f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"
        self._folder = checkpoint.folder
        self._transformer = checkpoint.sentence_config.transformer
        self._model = load_original(checkpoint, "CrossEncoder", activation_fn=torch.nn.Identity())
        self._model.float()
        self._model.default_prompt_name = None  # the gate has none
        longest = min(self._model.max_seq_length or math.inf, longest_input(checkpoint))
        if max_length is not None or longest < math.inf:
            self._model.max_seq_length = max_length or int(longest)

    @property
    def has_weights(self) -> bool:
        """As :attr:`SentenceTransformersOracle.has_weights`."""
        return found_weights(self._model[0].auto_model, self._transformer)

    def logits(
        self, texts: Sequence[str], passages: Sequence[str], tick: Callable[[int], object]
    ) -> npt.NDArray[np.float32]:
        """Logits of ``texts``, or of pairs with ``passages`` if there are any, float32 ``[n, labels]``."""
        if not passages:
            return np.stack([self._one(text, tick) for text in texts])
        order, logits = [], []
        for group in self._groups(texts, passages):
            logits.append(self._predict([(texts[at], passages[at]) for at in group]))
            order.append(group)
            tick(len(group))
        return np.concatenate(logits)[np.argsort(np.concatenate(order))]

    def _one(self, text: str, tick: Callable[[int], object]) -> npt.NDArray[np.float32]:
        """CrossEncoder takes a list of texts for one pair."""
        logits: npt.NDArray[np.float32] = self._predict(text)[0]
        tick(1)
        return logits

    def _groups(self, texts: Sequence[str], passages: Sequence[str]) -> Iterator[npt.NDArray[np.int64]]:
        """Places of pairs with equally many tokens, which need no padding."""
        found = self._model.tokenizer(list(texts), list(passages), truncation="longest_first")
        return equal_lengths(np.array([len(ids) for ids in found["input_ids"]]))

    def _predict(self, items: str | list[tuple[str, str]]) -> npt.NDArray[np.float32]:
        rows = 1 if isinstance(items, str) else len(items)
        try:
            found = self._model.predict(items, batch_size=rows, show_progress_bar=False)
        except Exception as error:  # the model's code may raise anything, such as an index beyond a table
            raise CheckpointError(f"{self._folder}: the original model fails on a text: {error}") from error
        return np.asarray(found, np.float32).reshape(rows, -1)
