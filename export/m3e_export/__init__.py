"""Export trained sentence-embedding checkpoints to bundles that prove their own fidelity."""

from m3e_export.errors import (
    BelowGateError,
    CheckpointError,
    ExportDependencyError,
    UnsupportedModelError,
    UntrustedCheckpointError,
)
from m3e_export.exporter import export
from m3e_export.request import ExportRequest

__all__ = [
    "BelowGateError",
    "CheckpointError",
    "ExportDependencyError",
    "ExportRequest",
    "UnsupportedModelError",
    "UntrustedCheckpointError",
    "export",
]
