"""Packages that come with an extra: a missing one is told of in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3e_runtime.errors import DependencyMissingError

__all__ = ["extra_packages"]


@contextmanager
def extra_packages(purpose: str, extra: str, *packages: str) -> Iterator[None]:
    """Imports of ``packages``, by the names that are imported, which ``purpose`` needs and ``extra`` brings.

    Raises:
        DependencyMissingError: one of them is not installed. What another package lacks is another error.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise DependencyMissingError(
            f"{purpose} needs {package}, which is not installed: `pip install 'm3e-runtime[{extra}]'`."
        ) from error
