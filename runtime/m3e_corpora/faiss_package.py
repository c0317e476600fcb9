"""The import of faiss, which only an output of .faiss needs."""

from __future__ import annotations

import importlib
from typing import Any

from m3e_runtime.errors import DependencyMissingError

__all__ = ["DEFAULT_INDEX", "import_faiss"]

DEFAULT_INDEX = "Flat"


def import_faiss() -> Any:
    """Import ``faiss``.

    Raises:
        DependencyMissingError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise DependencyMissingError(
            "an output of .faiss needs FAISS: `pip install 'm3e-runtime[faiss]'`. An output of .npy does not."
        ) from error
