"""pyarrow, imported only where Parquet or a remote file is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from m3e_runtime.errors import EngineMissingError

__all__ = ["import_arrow"]


def import_arrow(purpose: str, module: str = "") -> Any:
    """``pyarrow``, or one of its modules.

    Raises:
        EngineMissingError: it is not installed; ``purpose`` says what it is needed for.
    """
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise EngineMissingError(
            f"{purpose} needs pyarrow: `pip install 'm3e-runtime[parquet]'`; text, JSON Lines, CSV and .npy "
            "do not."
        ) from error
