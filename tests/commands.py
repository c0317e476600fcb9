"""The commands, and the module of each."""

from __future__ import annotations

__all__ = ["COMMANDS"]

COMMANDS = {
    "m3e-export": "m3e_export.cli",
    "m3e-quickstart": "m3e_export.quickstart",
    "m3e-eval": "m3e_eval.cli",
    "m3e-check": "m3e_runtime.cli",
    "m3e-encode": "m3e_corpora.cli",
    "m3e-serve": "m3e_serve.cli",
}
