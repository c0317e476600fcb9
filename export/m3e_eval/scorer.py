"""The cross-encoders of mteb: an artifact of a reranker's bundle, and the PyTorch original."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_eval.contestant import REFERENCE, EvaluatedModel
from m3e_export.checkpoint.readable import readable_folder
from m3e_export.checkpoint.source import fetch
from m3e_export.errors import CheckpointError
from m3e_export.hubs import DEFAULT_HUB, HubName
from m3e_runtime.bundle import Bundle
from m3e_runtime.extras import extra_packages
from m3e_runtime.reranker import Reranker

__all__ = ["ArtifactScorer", "CrossEncoderReference", "PairScorer", "load_scorer"]

Array = npt.NDArray[np.float32]


class PairScorer(EvaluatedModel):
    """The interface of a cross-encoder in mteb: scores of pairs of texts."""

    @abstractmethod
    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> Array:
        """The logit of each query with the passage of the same place, float32 ``[n]``.

        An activation function would keep their order, and round high scores to the same number.
        """

    def predict(self, inputs1: Any, inputs2: Any, **_: Any) -> Array:
        """The scores of all pairs of the loaders ``inputs1``, queries, and ``inputs2``, passages."""
        queries, passages = (
            [text for batch in loader for text in batch["text"]] for loader in (inputs1, inputs2)
        )
        return self.scores(queries, passages)


def _texts(loader: Any) -> list[str]:
    return [text for batch in loader for text in batch["text"]]


class ArtifactScorer(PairScorer):
    """An artifact in its engine."""

    kind = "artifact"

    def __init__(self, bundle: Bundle, artifact: str, threads: int | None = None) -> None:
        super().__init__(artifact, bundle.manifest.source.id)
        self._reranker = Reranker.load(bundle.path, artifact=artifact, threads=threads)

    @property
    def engine(self) -> str:
        """The engine and its version."""
        return str(self._reranker.info["engine"])

    @property
    def precision(self) -> str:
        """The precision of the artifact's weights."""
        return self._reranker.artifact.precision

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> Array:
        """The logit of each pair, float32 ``[n]``."""
        pairs = list(zip(queries, passages, strict=True))
        return self._reranker.logits(pairs, show_progress_bar=False)[:, 0]

    def close(self) -> None:
        """Release the memory of a GPU."""
        self._reranker.close()


class CrossEncoderReference(PairScorer):
    """The checkpoint in sentence-transformers' CrossEncoder, in float32 on the CPU."""

    kind = "reference"
    precision = "fp32"

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        """Load the checkpoint in ``folder``.

        Raises:
            CheckpointError: sentence-transformers cannot load it.
        """
        import torch
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging

        logging.disable_progress_bar()
        super().__init__(REFERENCE, bundle.manifest.source.id)
        try:
            with readable_folder(folder) as readable:
                self._model = CrossEncoder(
                    str(readable),
                    device="cpu",
                    # The same maximum length for both: the scores compare precisions only.
                    max_length=bundle.manifest.tokenization.max_length,
                    model_kwargs={"dtype": torch.float32},
                    activation_fn=torch.nn.Identity(),
                    trust_remote_code=False,
                )
        except Exception as error:  # many kinds of errors
            raise CheckpointError(f"{folder}: sentence-transformers cannot load it ({error}).") from error

    @property
    def engine(self) -> str:
        """The engine and its version."""
        import sentence_transformers
        import torch

        return f"sentence-transformers {sentence_transformers.__version__} / torch {torch.__version__}"

    @property
    def labels(self) -> int:
        """The number of logits."""
        return int(self._model.num_labels)

    def scores(self, queries: Sequence[str], passages: Sequence[str]) -> Array:
        """The logit of each pair, float32 ``[n]``."""
        pairs = list(zip(queries, passages, strict=True))
        return np.asarray(self._model.predict(pairs, show_progress_bar=False), np.float32).reshape(-1)


def load_scorer(
    checkpoint: str, bundle: Bundle, threads: int | None = None, hub: HubName = DEFAULT_HUB
) -> CrossEncoderReference:
    """The PyTorch original ``checkpoint``, a folder or a hub id, to compare a reranker's ``bundle`` with.

    Raises:
        CheckpointError: the checkpoint cannot be loaded, or is no reranker.
        DependencyMissingError: PyTorch or sentence-transformers is not installed.
    """
    with extra_packages("--reference", "eval", "sentence_transformers", "torch"):
        import sentence_transformers  # noqa: F401
        import torch
    if threads is not None:
        torch.set_num_threads(threads)
    reference = CrossEncoderReference(fetch(checkpoint, hub=hub).folder, bundle)
    if reference.labels != 1:
        raise CheckpointError(
            f"{checkpoint}: it has {reference.labels} labels, and the bundle is a reranker, with one; "
            f"--reference must be the exported checkpoint, {bundle.manifest.source.id}."
        )
    return reference
