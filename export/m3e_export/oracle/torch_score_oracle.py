"""The oracle in PyTorch for rerankers and classifiers: transformers' model and tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.oracle.transformers_model import load_model, load_tokenizer

__all__ = ["TorchScoreOracle"]


class TorchScoreOracle:
    """Float32 logits from ``AutoModelForSequenceClassification``, one text or pair at a time."""

    def __init__(self, checkpoint: BaseCheckpoint) -> None:
        """Load the checkpoint.

        Raises:
            CheckpointError: transformers cannot load its weights or its tokenizer.
        """
        import torch
        import transformers

        self.name = f"torch {torch.__version__} / transformers {transformers.__version__}"
        self._torch = torch
        self._max_length = checkpoint.max_length
        self._tokenizer = load_tokenizer(checkpoint.sentence_config, checkpoint.model_type)
        tensors = checkpoint.sentence_config.load_weights().arrays
        self._model = load_model(checkpoint.config, tensors, transformers.AutoModelForSequenceClassification)

    def logits(
        self, texts: Sequence[str], passages: Sequence[str], tick: Callable[[int], object]
    ) -> npt.NDArray[np.float32]:
        """Logits of ``texts``, or of pairs with ``passages`` if there are any, float32 ``[n, labels]``."""
        rows = []
        for place, text in enumerate(texts):
            rows.append(self._row(text, passages[place] if passages else None))
            tick(1)
        return np.stack(rows)

    def _row(self, text: str, passage: str | None) -> npt.NDArray[np.float32]:
        inputs = self._tokenizer(  # lists: of two strings, an empty passage would be left out
            [text],
            None if passage is None else [passage],
            truncation="longest_first",
            max_length=self._max_length,
            return_tensors="pt",
        )
        try:
            with self._torch.inference_mode():
                row: npt.NDArray[np.float32] = self._model(**inputs).logits[0].numpy()
        except Exception as error:  # the model's code may raise anything, such as an index beyond a table
            tokens = inputs["input_ids"].shape[1]
            raise CheckpointError(
                f"the original model fails on a text of {tokens} tokens: {error}"
            ) from error
        return row
