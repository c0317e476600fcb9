"""The packages of the extra ``export``."""

from __future__ import annotations

from contextlib import AbstractContextManager

from m3e_runtime import extras

__all__ = ["extra_packages"]

_PACKAGES = (
    "safetensors",
    "onnx",
    "onnx_ir",
    "ml_dtypes",
    "huggingface_hub",
    "typing_extensions",
    "threadpoolctl",
)
"""The packages by the names that are imported."""


def extra_packages() -> AbstractContextManager[None]:
    """A context for imports that need the extra ``export``.

    Raises:
        DependencyMissingError: one of its packages is not installed.
    """
    return extras.extra_packages("exporting", "export", *_PACKAGES)
