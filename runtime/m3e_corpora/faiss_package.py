"""faiss, imported only where an index is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from m3e_runtime.errors import EngineMissingError

__all__ = ["DEFAULT_INDEX", "import_faiss"]

DEFAULT_INDEX = "Flat"


def import_faiss() -> Any:
    """The package.

    Raises:
        EngineMissingError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise EngineMissingError(
            "an output of .faiss needs FAISS: `pip install 'm3e-runtime[faiss]'`; .npy does not."
        ) from error
