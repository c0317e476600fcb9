"""TensorRT: building engines from graphs, without a GPU if the package supports that."""

from m3e_runtime.gpu.tensorrt.build import BuiltEngine, build_engine, choose_capabilities
from m3e_runtime.gpu.tensorrt.layers import EngineLayer
from m3e_runtime.gpu.tensorrt.options import EngineOptions, Profile, Span, default_profiles
from m3e_runtime.gpu.tensorrt.package import TensorRT, find_package

__all__ = [
    "BuiltEngine",
    "EngineLayer",
    "EngineOptions",
    "Profile",
    "Span",
    "TensorRT",
    "build_engine",
    "choose_capabilities",
    "default_profiles",
    "find_package",
]
