"""sentence-transformers on PyTorch, float32: the baseline of every ratio."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.contestants.base import Contestant


class SentenceTransformers(Contestant):
    """As its users call it."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return checkpoint

    def __init__(self, model: Path, threads: int) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self._model = SentenceTransformer(str(model), device="cpu")

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors: np.ndarray = self._model.encode(texts, batch_size=32, show_progress_bar=False)
        return vectors
