"""The oracle for rerankers and classifiers: sentence-transformers' CrossEncoder of the folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.readable import readable_folder
from m3e_export.errors import CheckpointError
from m3e_export.inputs import model_inputs
from m3e_export.quiet import quiet

__all__ = ["CrossEncoderOracle"]

_TOKENS = 2048
"""Tokens of the texts that run together. One text at a time reads the weights too often."""


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
        self._checkpoint = checkpoint
        try:
            with quiet(), readable_folder(checkpoint.folder) as readable:
                self._model = sentence_transformers.CrossEncoder(
                    str(readable),
                    device="cpu",
                    max_length=max_length or checkpoint.max_length,
                    activation_fn=torch.nn.Identity(),
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"dtype": torch.float32},
                )
        except Exception as error:  # each module raises its own errors
            raise CheckpointError(
                f"{checkpoint.folder}: sentence-transformers {sentence_transformers.__version__} cannot load "
                f"it: {str(error).strip() or type(error).__name__} (--oracle numpy does without it.)"
            ) from error

    def logits(
        self, texts: Sequence[str], passages: Sequence[str], tick: Callable[[int], object]
    ) -> npt.NDArray[np.float32]:
        """Logits of ``texts``, or of pairs with ``passages`` if there are any, float32 ``[n, labels]``."""
        lengths = model_inputs(self._checkpoint, texts, passages).lengths
        logits = np.empty((len(texts), self._checkpoint.dimension), np.float32)
        for length in np.unique(lengths)[::-1]:  # equal lengths need no padding; were one wrong, they would
            places = np.flatnonzero(lengths == length)
            for group in np.array_split(places, math.ceil(len(places) * length / _TOKENS)):
                items = [(texts[at], passages[at]) if passages else texts[at] for at in group]
                found = self._model.predict(items, batch_size=len(items), show_progress_bar=False)
                logits[group] = np.asarray(found, np.float32).reshape(len(items), -1)
                tick(len(group))
        return logits
