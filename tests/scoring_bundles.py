"""Rerankers and classifiers with random weights: a checkpoint that CrossEncoder reads, and a bundle of it."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import synthetic

__all__ = ["make_classifier"]


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
    random = np.random.default_rng(1)
    tensors["bert.embeddings.token_type_embeddings.weight"] *= 10  # so that types matter
    tensors["classifier.weight"] = random.normal(size=(labels, 64)).astype(np.float32)
    tensors["classifier.bias"] = random.normal(size=labels).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
