"""The import of pyarrow, which only Parquet and remote files need."""

from __future__ import annotations

import importlib
from typing import Any

from m3e_runtime.extras import extra_packages

__all__ = ["import_arrow"]


def import_arrow(purpose: str, module: str = "") -> Any:
    """Import ``pyarrow``, or one of its modules.

    Args:
        purpose: what needs it, for the error message.
        module: name of a module in ``pyarrow``.

    Raises:
        DependencyMissingError: pyarrow is not installed.
    """
    hint = "Text, JSON Lines, CSV and .npy files do not need it."
    with extra_packages(purpose, "parquet", "pyarrow", hint=hint):
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
