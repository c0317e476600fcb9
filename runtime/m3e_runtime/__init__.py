"""A thin, fast runtime for sentence-embedding bundles made by ``m3e-export``.

Names are imported when they are asked for: a command that only prints its help, or catches Ctrl-C while it is
imported, waits for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m3e_runtime.bundle import Bundle
    from m3e_runtime.chunking import ChunkedText, ChunkOptions
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
        TextTooLongError,
    )
    from m3e_runtime.outputs import quantize_embeddings
    from m3e_runtime.reranker import Reranker
    from m3e_runtime.scheduling import AsyncEncoder, AsyncReranker

__all__ = [
    "AsyncEncoder",
    "AsyncReranker",
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "ChunkOptions",
    "ChunkedText",
    "ClosedError",
    "DependencyMissingError",
    "Encoder",
    "EngineMissingError",
    "InvalidTextError",
    "M3EError",
    "OptionError",
    "OverloadedError",
    "Reranker",
    "TextTooLongError",
    "quantize_embeddings",
]
__version__ = "0.1.0"

_MODULES = {
    "AsyncEncoder": "scheduling",
    "AsyncReranker": "scheduling",
    "Bundle": "bundle",
    "ChunkOptions": "chunking",
    "ChunkedText": "chunking",
    "Encoder": "encoder",
    "Reranker": "reranker",
    "quantize_embeddings": "outputs",
}
"""Of the names that are no errors."""


def __getattr__(name: str) -> Any:
    """Import the module of a public name."""
    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = found  # the next time nothing is called
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
