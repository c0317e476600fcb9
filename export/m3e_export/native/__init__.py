"""Weights for the native CPU engine: a safetensors file, packed as its kernels read it."""

from m3e_export.native.writer import save_native

__all__ = ["save_native"]
