"""Packages of the extra ``export``: a missing one is told of in a sentence."""

from __future__ import annotations

from contextlib import AbstractContextManager

from m3e_runtime import extras

__all__ = ["extra_packages"]

_PACKAGES = ("safetensors", "onnx", "onnx_ir", "ml_dtypes", "huggingface_hub", "typing_extensions")
"""What the extra brings, by the names that are imported."""


def extra_packages() -> AbstractContextManager[None]:
    """Imports that need the extra ``export``.

    Raises:
        DependencyMissingError: one of its packages is not installed.
    """
    return extras.extra_packages("exporting", "export", *_PACKAGES)
