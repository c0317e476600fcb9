"""Writing the encoder as an ONNX graph straight from the weights."""

from m3e_export.graph.encoder import GraphOptions, build_model
from m3e_export.graph.serialize import save_model

__all__ = ["GraphOptions", "build_model", "save_model"]
