"""Entry points of the commands. This module imports almost nothing.

Importing a command takes up to a second. Ctrl-C during that time ends it without a traceback.
"""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["check", "encode", "evaluate", "export", "quickstart", "serve"]

_INTERRUPTED = 130


def export() -> int:
    """``m3e-export``."""
    return _run("m3e-export", "m3e_export.cli")


def quickstart() -> int:
    """``m3e-quickstart``."""
    return _run("m3e-quickstart", "m3e_export.quickstart")


def evaluate() -> int:
    """``m3e-eval``."""
    return _run("m3e-eval", "m3e_eval.cli")


def check() -> int:
    """``m3e-check``."""
    return _run("m3e-check", "m3e_runtime.cli")


def encode() -> int:
    """``m3e-encode``."""
    return _run("m3e-encode", "m3e_corpora.cli")


def serve() -> int:
    """``m3e-serve``."""
    return _run("m3e-serve", "m3e_serve.cli")


def _run(command: str, module: str) -> int:
    try:
        code: int = import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{command}: interrupted.\n")
        return _INTERRUPTED
    return code
