"""sentence-transformers on PyTorch, as its users call it; in float32 what all are held against."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.contestants.base import Contestant, Place

BATCH = 32
_BATCHES = (32, 128, 512)

__all__ = ["Bf16", "CompiledFp16", "FlashFp16", "Fp16", "Fp32", "fastest_batch"]


def fastest_batch(encode: Callable[[int], object], sizes: tuple[int, ...] = _BATCHES) -> int:
    """The size of a batch with which ``encode`` takes least; each has one call to warm up."""
    import torch

    seconds: dict[int, float] = {}
    for size in sizes:
        try:
            encode(size)
            start = time.perf_counter()
            encode(size)
            seconds[size] = time.perf_counter() - start
        except torch.OutOfMemoryError:
            if not seconds:
                raise
            break
        finally:
            torch.cuda.empty_cache()  # the others need the memory too
    return min(seconds, key=seconds.__getitem__)


class Fp32(Contestant):
    """Float32, the dtype of the checkpoint, padded to the longest of a batch; texts are sorted by length."""

    dtype: ClassVar[str] = "float32"
    attention: ClassVar[str] = "sdpa"

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return checkpoint

    def __init__(self, model: Path, place: Place) -> None:
        import torch

        torch.set_num_threads(place.threads)
        self._model = self._load(model, place.device)
        self._batch = BATCH

    def _load(self, model: Path, device: str) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer

        settings = {"dtype": getattr(torch, self.dtype), "attn_implementation": self.attention}
        return SentenceTransformer(str(model), device=device, model_kwargs=settings)

    def encode(self, texts: list[str]) -> np.ndarray:
        return self._encode(self._model, texts, self._batch)

    def tune(self, texts: list[str]) -> None:
        self._batch = fastest_batch(lambda size: self._encode(self._model, texts, size))

    def details(self, texts: list[str]) -> dict[str, Any]:
        return {"batch": self._batch}

    @staticmethod
    def _encode(model: Any, texts: list[str], batch: int) -> np.ndarray:
        vectors = model.encode(texts, batch_size=batch, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


class Fp16(Fp32):
    """Float16: the baseline on a GPU."""

    dtype = "float16"


class Bf16(Fp32):
    """Bfloat16."""

    dtype = "bfloat16"


class CompiledFp16(Fp16):
    """Compiled twice, because no one mode suits both.

    ``reduce-overhead`` records CUDA graphs: best for a single text, where launches cost more than kernels.
    It records one for each shape, and a corpus has hundreds: batches get the fastest kernels without graphs.
    Both are compiled for any length, as a service would have to.
    """

    def __init__(self, model: Path, place: Place) -> None:
        super().__init__(model, place)
        self._single = self._load(model, place.device)
        self._single.load_state_dict(self._model.state_dict(), assign=True)  # the weights are there once
        self._single.compile(mode="reduce-overhead", dynamic=True)
        self._model.compile(mode="max-autotune-no-cudagraphs", dynamic=True)

    def encode(self, texts: list[str]) -> np.ndarray:
        return self._encode(self._single if len(texts) == 1 else self._model, texts, self._batch)


class FlashFp16(Fp16):
    """FlashAttention 2, with which sentence-transformers leaves the padding out."""

    attention = "flash_attention_2"

    def __init__(self, model: Path, place: Place) -> None:
        super().__init__(model, place)
        if not self._model[0].can_flatten_inputs:
            raise RuntimeError("sentence-transformers still pads: it needs flash_attn or kernels, and a GPU.")
