"""Weights for the native CPU engine: one safetensors file, packed the way its kernels read it."""

from m3e_export.native.writer import save_native

__all__ = ["save_native"]
