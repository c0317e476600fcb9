"""A thin, fast runtime for sentence-embedding bundles made by ``m3e-export``."""

from typing import TYPE_CHECKING, Any

from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import (
    BundleError,
    BundleIntegrityError,
    ClosedError,
    DependencyMissingError,
    EngineMissingError,
    InvalidTextError,
    M3EError,
    OptionError,
    OverloadedError,
)
from m3e_runtime.outputs import quantize_embeddings

if TYPE_CHECKING:
    from m3e_runtime.scheduling import AsyncEncoder

__all__ = [
    "AsyncEncoder",
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "ClosedError",
    "DependencyMissingError",
    "Encoder",
    "EngineMissingError",
    "InvalidTextError",
    "M3EError",
    "OptionError",
    "OverloadedError",
    "quantize_embeddings",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import only when asked for what brings asyncio: that takes a fifth of the time of all the rest."""
    if name == "AsyncEncoder":
        from m3e_runtime.scheduling import AsyncEncoder

        return AsyncEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
