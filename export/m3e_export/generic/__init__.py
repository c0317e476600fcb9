"""Bundles of graphs from elsewhere, for any family of transformers.

:mod:`export` takes a graph from torch.onnx (:mod:`torch_graph`) or Optimum (:mod:`optimum_graph`);
:mod:`onnx_folder` takes one from a folder. :mod:`interface` gives it a bundle's inputs and outputs,
:mod:`precision` stores its weights in fp16 or int8, and :mod:`judge` runs it for the gate.
"""

from m3e_export.generic.export import export_generic
from m3e_export.generic.judge import ITSELF
from m3e_export.generic.onnx_folder import from_onnx_folder

__all__ = ["ITSELF", "export_generic", "from_onnx_folder"]
