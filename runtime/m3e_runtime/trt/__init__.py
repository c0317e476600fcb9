"""TensorRT: building engines from graphs, without a GPU where the package can."""

from m3e_runtime.trt.build import BuiltEngine, build_engine, choose_capabilities
from m3e_runtime.trt.layers import EngineLayer
from m3e_runtime.trt.options import EngineOptions, Profile, Span, default_profiles
from m3e_runtime.trt.package import TensorRT, find_package

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
