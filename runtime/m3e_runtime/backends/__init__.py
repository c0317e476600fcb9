"""Engines that run an artifact. Each takes token ids and returns sentence vectors."""

from m3e_runtime.backends.base import Backend, Inputs, OutputsBackend, TokenBackend, run_all
from m3e_runtime.backends.choice import Choice, choose
from m3e_runtime.backends.load import load_backend, open_best

__all__ = [
    "Backend",
    "Choice",
    "Inputs",
    "OutputsBackend",
    "TokenBackend",
    "choose",
    "load_backend",
    "open_best",
    "run_all",
]
