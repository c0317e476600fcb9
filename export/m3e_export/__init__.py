"""Export trained sentence-embedding checkpoints to bundles that prove their own fidelity."""

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
    """Import the exporter only when asked for: it needs the extra ``export``."""
    if name == "export":
        with extra_packages():
            from m3e_export.exporter import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
