"""Exporting quickly, and asking sentence-transformers."""

from __future__ import annotations

import itertools

import pytest

from m3e_export import ExportRequest, export
from m3e_runtime import Encoder


@pytest.fixture(scope="session")
def few_texts(texts, tmp_path_factory):
    """A gate file of a few short texts: an export that judges on it takes moments."""
    file = tmp_path_factory.mktemp("gate") / "few.txt"
    short = [text for text in texts if text.strip() and text.isprintable() and len(text) < 60]
    file.write_text("\n".join(short[:24]), encoding="utf-8")
    return file


@pytest.fixture
def exported(few_texts, tmp_path):
    """Export a checkpoint, judged on few texts; returns the bundle."""
    count = itertools.count()

    def run(checkpoint, **options):
        output = tmp_path / f"bundle-{next(count)}"
        return export(ExportRequest(str(checkpoint), output, **{"gate": str(few_texts), **options}))

    return run


@pytest.fixture
def fp32_vectors(exported):
    """Vectors of a checkpoint's fp32 bundle; keywords go to Encoder.encode."""

    def run(checkpoint, sentences, **options):
        return Encoder.load(exported(checkpoint).path).encode(sentences, **options)

    return run


@pytest.fixture(scope="session")
def sentence_transformer():
    """Load a checkpoint folder in sentence-transformers, in float32 on the CPU."""
    import torch
    from sentence_transformers import SentenceTransformer

    def load(folder):
        return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})

    return load
