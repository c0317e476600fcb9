"""Packages that come with an extra: a missing one is told of in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3e_export.errors import DependencyMissingError

__all__ = ["extra_packages"]

_PACKAGES = {"safetensors", "onnx", "onnx_ir", "ml_dtypes", "huggingface_hub"}
"""What the extra ``export`` brings, by the names that are imported."""


@contextmanager
def extra_packages() -> Iterator[None]:
    """Imports that need the extra ``export``.

    Raises:
        DependencyMissingError: one of its packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise DependencyMissingError(
            f"{package} is not installed, which exporting needs: `pip install 'm3e-runtime[export]'`."
        ) from error
