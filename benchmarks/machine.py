"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.older_cpu import PROCESSORS
from m3e_runtime.gpu.driver import Gpu

__all__ = ["describe", "describe_gpu", "gpu_memory", "has_vnni"]

_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_PACKAGES = ("m3e-runtime", "numpy", "onnxruntime", "torch", "sentence-transformers", "transformers",
             "tokenizers", "ctranslate2", "openvino", "nncf", "onnxruntime-gpu", "tensorrt", "tensorrt_rtx",
             "cuda-bindings", "triton", "flash-attn", "kernels")  # fmt: skip


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


def describe_gpu(gpu: Gpu) -> dict[str, Any]:
    """Name, compute capability, memory and driver."""
    described: dict[str, Any] = {"name": gpu.name, "compute_capability": gpu.compute_capability}
    query = "--query-gpu=name,driver_version,memory.total,power.limit"
    for name, driver, megabytes, watts in _ask_nvidia(query):
        if name == gpu.name:
            described |= {"driver": driver, "memory_mb": _number(megabytes), "power_limit_w": _number(watts)}
    return described


def gpu_memory() -> dict[int, int]:
    """Bytes that each process holds on GPUs, by process id; empty where the driver does not tell."""
    return {
        int(pid): int(size) * 2**20
        for pid, size in _ask_nvidia("--query-compute-apps=pid,used_memory")
        if size.isdigit()
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


def _ask_nvidia(query: str) -> list[list[str]]:
    """Rows of an answer of the driver's own tool; none without it."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in answer.splitlines() if line.strip()]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # "[N/A]"
        return None


def _version(package: str) -> str | None:
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if package == "onnxruntime" and _is_hidden(found, package) else found.version


def _is_hidden(found: importlib.metadata.Distribution, module: str) -> bool:
    """Whether a folder that comes before the package's on the path has a module of its name."""
    spec = importlib.util.find_spec(module)
    folder = Path(str(found.locate_file(""))).resolve()
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parents[1] != folder
