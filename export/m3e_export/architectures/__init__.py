"""Model families: from a checkpoint's config and tensor names to one neutral form."""

from m3e_export.architectures.encoder import (
    Activation,
    EncoderSpec,
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
)
from m3e_export.architectures.registry import Architecture, architecture_for

__all__ = [
    "Activation",
    "Architecture",
    "EncoderSpec",
    "EncoderWeights",
    "LayerWeights",
    "Linear",
    "Norm",
    "architecture_for",
]
