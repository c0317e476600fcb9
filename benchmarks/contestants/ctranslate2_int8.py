"""CTranslate2 in int8; it packs away padding itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.contestants.base import Contestant, Place, mean_pool

BATCH = 32


class CTranslate2Int8(Contestant):
    """Its Encoder with mean pooling outside."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(checkpoint)).convert(str(folder), quantization="int8", force=True)
        (folder / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
        return folder

    def __init__(self, model: Path, place: Place) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        self._encoder = ctranslate2.Encoder(
            str(model), device="cpu", compute_type="int8", intra_threads=place.threads, inter_threads=1
        )
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.enable_truncation(512)

    def encode(self, texts: list[str]) -> np.ndarray:
        pooled = []
        for start in range(0, len(texts), BATCH):
            ids = [e.ids for e in self._tokenizer.encode_batch(texts[start : start + BATCH])]
            states = np.array(self._encoder.forward_batch(ids).last_hidden_state)
            lengths = np.array([len(row) for row in ids])
            pooled.append(mean_pool(states, np.arange(states.shape[1]) < lengths[:, None]))
        return np.concatenate(pooled)
