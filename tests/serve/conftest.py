"""The bundles that the tests of the service use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle(request) -> Path:
    """A small bundle; ``M3E_BUNDLE`` may name one that was made before, of MiniLM."""
    made_before = os.environ.get("M3E_BUNDLE")
    return Path(made_before) if made_before else request.getfixturevalue("tiny_bundle")
