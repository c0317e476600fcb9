"""Bundles around graphs that are not our own: other exporters', and those that lie in a folder already."""

from m3e_export.generic.export import export_generic
from m3e_export.generic.judge import ITSELF
from m3e_export.generic.onnx_folder import from_onnx_folder

__all__ = ["ITSELF", "export_generic", "from_onnx_folder"]
