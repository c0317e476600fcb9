"""Model families: each maps its config and its tensor names to one neutral encoder.

Read in this order: :mod:`encoder` (the neutral form, which the graphs and the numpy oracle use), :mod:`bert`
(a family in thirty lines), :mod:`registry` (families by model_type). :mod:`mpnet` and :mod:`albert` differ
more from BERT. :mod:`settings`, :mod:`tensors` and :mod:`layers` are what families share.

To add a family, write a module like :mod:`bert` with the functions ``spec`` and ``weights``, and enter it in
:mod:`registry`. ``tests/export/test_architectures.py`` compares every family with transformers.
"""

from m3e_export.architectures.encoder import (
    Activation,
    EncoderSpec,
    EncoderWeights,
    LayerAttention,
    LayerWeights,
    Linear,
    Norm,
    NormKind,
)
from m3e_export.architectures.registry import Architecture, architecture_for

__all__ = [
    "Activation",
    "Architecture",
    "EncoderSpec",
    "EncoderWeights",
    "LayerAttention",
    "LayerWeights",
    "Linear",
    "Norm",
    "NormKind",
    "architecture_for",
]
