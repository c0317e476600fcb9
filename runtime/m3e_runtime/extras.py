"""Packages that come with an extra. A missing one is reported with the extra's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3e_runtime.errors import DependencyMissingError

__all__ = ["extra_packages"]


@contextmanager
def extra_packages(purpose: str, extra: str, *packages: str, hint: str = "") -> Iterator[None]:
    """A context for the imports of ``packages``, which ``purpose`` needs and ``extra`` installs.

    Args:
        purpose: what needs them, the subject of the message.
        extra: extras of m3e-runtime, separated by commas.
        packages: names of top-level modules.
        hint: a sentence after the command, such as another way.

    Raises:
        DependencyMissingError: one of them is not installed. Other import errors pass through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise DependencyMissingError(
            f"{purpose} needs {package}, which is not installed: `pip install 'm3e-runtime[{extra}]'`."
            + (f" {hint}" if hint else "")
        ) from error
