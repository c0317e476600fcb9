"""Export trained sentence-embedding checkpoints to verified bundles.

Read :mod:`exporter` first: it calls :mod:`own`, the built-in exporter, or :mod:`generic`. Both load a
:mod:`checkpoint`, ask an :mod:`oracle` for its vectors, and write a candidate for each artifact until one
passes the :mod:`gate`; that loop is in :mod:`candidates`. A new architecture is added in
:mod:`architectures`, a new dialect in :mod:`graph.dialects`, a new target in :mod:`targets`. Rounding to int8
is in :mod:`precision`.
"""

from typing import TYPE_CHECKING, Any

from m3e_export.errors import (
    BelowGateError,
    CheckpointAccessError,
    CheckpointError,
    CheckpointNotFoundError,
    DependencyMissingError,
    HubUnreachableError,
    UnsupportedModelError,
    UntrustedCheckpointError,
)
from m3e_export.extras import extra_packages
from m3e_export.request import ExportRequest

if TYPE_CHECKING:
    from m3e_export.exporter import export

__all__ = [
    "BelowGateError",
    "CheckpointAccessError",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DependencyMissingError",
    "ExportRequest",
    "HubUnreachableError",
    "UnsupportedModelError",
    "UntrustedCheckpointError",
    "export",
]


def __getattr__(name: str) -> Any:
    """Import the exporter on first use: it needs the extra ``export``."""
    if name == "export":
        with extra_packages():
            from m3e_export.exporter import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
