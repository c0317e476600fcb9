"""Engines that run an artifact. Each takes padded token ids and returns sentence vectors."""

from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.choice import load_backend

__all__ = ["Backend", "load_backend"]
