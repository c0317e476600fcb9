"""Bundles and data for evaluations; the sentences in data/ were written for these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3e_export import ExportRequest, export

_DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """similarity.jsonl, pairs.csv, retrieval.tsv and topics.jsonl, in English and some Chinese."""
    return _DATA


@pytest.fixture(scope="session")
def two_precisions(minilm, tmp_path_factory) -> Path:
    """MiniLM in fp32 and int8, through the gate. Read only."""
    folder = tmp_path_factory.mktemp("evaluated") / "bundle"
    return export(ExportRequest(str(minilm), folder, precisions=("fp32", "int8"))).path
