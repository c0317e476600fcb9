"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.older_cpu import PROCESSORS

__all__ = ["describe", "has_vnni"]

_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_PACKAGES = ("m3e-runtime", "numpy", "onnxruntime", "torch", "sentence-transformers", "transformers",
             "tokenizers", "ctranslate2", "openvino")  # fmt: skip


def describe() -> dict[str, Any]:
    """Processor, instruction sets, cores, memory, versions."""
    info = _cpuinfo()
    flags = info.get("flags", info.get("Features", "")).split()
    if pretended := os.environ.get("M3E_PROCESSOR"):
        flags = [flag for flag in flags if flag in PROCESSORS[pretended]]
    return {
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "instruction_sets": [flag for flag in _FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def has_vnni() -> bool:
    """Whether 8-bit products are exact in hardware."""
    return any("vnni" in flag for flag in describe()["instruction_sets"])


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
