"""Python code that hides PyTorch and what needs it, as if the packages were not installed."""

from __future__ import annotations

__all__ = ["WITHOUT_TORCH"]

WITHOUT_TORCH = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
def absent(name, path=None, target=None):
    gone = name.split(".")[0] in ("torch", "transformers", "sentence_transformers")
    return None if gone else find(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(absent)
"""
"""``find_spec`` gives None, and import raises ModuleNotFoundError."""
