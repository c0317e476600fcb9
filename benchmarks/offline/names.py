"""Contestants and shapes that the steps of a day and the claims speak of. Needs nothing but Python."""

from __future__ import annotations

__all__ = ["BASE", "OURS", "SMALL"]

OURS = ("ours-cuda-fp16", "ours-cuda-packed-fp16")
"""Ours on ONNX Runtime's CUDA provider: padded, and without padding."""

BASE, SMALL = "m3e-base", "m3e-small"
"""Shapes. The claims are about the first; the first vectors are of the second, which is exported sooner."""
