"""Exporting quickly, and asking sentence-transformers."""

from __future__ import annotations

import itertools

import pytest

from m3e_export import ExportRequest, export
from m3e_runtime import Encoder


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
