"""The bundle that the adapters' tests encode with, and one of it with prompts."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from m3e_runtime import Encoder

PROMPTS = {"query": "question: ", "passage": "passage: ", "topic": "topic: "}


@pytest.fixture(scope="session")
def bundle(request) -> Path:
    """MiniLM; ``M3E_BUNDLE`` may name a bundle of it that was made before."""
    made_before = os.environ.get("M3E_BUNDLE")
    return Path(made_before) if made_before else request.getfixturevalue("minilm_bundle")


@pytest.fixture(scope="session")
def prompted(bundle, tmp_path_factory) -> Path:
    """The same bundle, with prompts."""
    folder = tmp_path_factory.mktemp("prompted") / "bundle"
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["prompts"] = PROMPTS
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def encoder(bundle) -> Encoder:
    return Encoder.load(bundle)


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return [
        "How do I change the bank card linked to my account?",
        "The weather is lovely today.",
        "A recipe for tomato soup with basil.",
        "The train to the airport leaves every ten minutes.",
    ]


@pytest.fixture(scope="session")
def query() -> str:
    return "replace the card of my account"


@pytest.fixture(scope="session")
def same():
    """Compares a framework's lists of floats with vectors, to the last bit."""

    def compare(found, expected) -> None:
        np.testing.assert_array_equal(np.asarray(found, dtype=np.float32), expected)

    return compare
