"""The import of faiss, which only an output of .faiss needs."""

from __future__ import annotations

import importlib
from typing import Any

from m3e_runtime.extras import extra_packages

__all__ = ["DEFAULT_INDEX", "import_faiss"]

DEFAULT_INDEX = "Flat"


def import_faiss() -> Any:
    """Import ``faiss``.

    Raises:
        DependencyMissingError: it is not installed.
    """
    with extra_packages("an output of .faiss", "faiss", "faiss", hint="An output of .npy does not need it."):
        return importlib.import_module("faiss")
