"""Writing an encoder as an ONNX graph.

Read in this order: :mod:`encoder` (the one definition of the graph), :mod:`texts` (its inputs and the
pooling), :mod:`dialects.base` and :mod:`dialects.standard` (which operators spell attention, norms and
products), :mod:`dialects.rowwise` (int8 products), :mod:`head` (the layers after the pooling). A new dialect
is a module in :mod:`dialects`.
"""

from m3e_export.graph.encoder import GraphOptions, build_model
from m3e_export.graph.serialize import save_model

__all__ = ["GraphOptions", "build_model", "save_model"]
