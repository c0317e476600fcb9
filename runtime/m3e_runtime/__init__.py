"""A thin, fast runtime for sentence-embedding bundles made by ``m3e-export``."""

from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import (
    BundleError,
    BundleIntegrityError,
    EngineMissingError,
    InvalidTextError,
    M3EError,
    OptionError,
)
from m3e_runtime.outputs import quantize_embeddings

__all__ = [
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "Encoder",
    "EngineMissingError",
    "InvalidTextError",
    "M3EError",
    "OptionError",
    "quantize_embeddings",
]
__version__ = "0.1.0"
