"""Rerankers and classifiers with random weights: a checkpoint that CrossEncoder reads, and a bundle of it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import synthetic

__all__ = ["PAIRS", "make_classifier", "random_pairs"]


def make_classifier(folder: Path, labels: int = 1, **config: Any) -> Path:
    """A ``BertForSequenceClassification`` as transformers saves it."""
    synthetic.make_checkpoint(folder, **synthetic.TINY, layout="plain", pooler=True)
    names = {str(index): f"LABEL_{index}" for index in range(labels)}
    synthetic.update_json(
        folder / "config.json",
        architectures=["BertForSequenceClassification"],
        id2label=names,
        label2id={name: int(index) for index, name in names.items()},
        **config,
    )
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    chance = np.random.default_rng(1)
    tensors["bert.embeddings.token_type_embeddings.weight"] *= 10  # so that types matter
    tensors["classifier.weight"] = chance.normal(size=(labels, 64)).astype(np.float32)
    tensors["classifier.bias"] = chance.normal(size=labels).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def random_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of empty, short and long texts, some of which are truncated."""
    chosen = random.Random(seed)
    words = ["今天", "天气", "很好", "card", "account", "weather", "，", "绑定", "银行卡", "3.14"]

    def text() -> str:
        return " ".join(chosen.choices(words, k=chosen.choice((0, 1, 2, 5, 9, 40, 300, 700))))

    return [(text(), text()) for _ in range(count)]


PAIRS = [*random_pairs(60), *random_pairs(10)]
"""Queries and passages for a file; some come twice."""
