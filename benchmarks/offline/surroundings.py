"""``python -m benchmarks.offline.surroundings``: what is on this machine before anything is joined."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile

__all__ = ["describe"]

_PACKAGES = (
    "torch", "transformers", "sentence-transformers", "tokenizers", "numpy", "onnx", "onnx-ir",
    "onnxscript", "onnxruntime", "onnxruntime-gpu", "safetensors", "huggingface-hub", "triton",
    "cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-curand",
    "nvidia-cuda-runtime", "msgspec", "platformdirs", "threadpoolctl", "tqdm", "pytest", "hypothesis",
    "filelock", "psutil", "matplotlib", "scikit-build-core", "cmake", "ninja",
)  # fmt: skip
_PROGRAMS = ("g++", "cc", "cmake", "ninja", "nvcc", "ncu", "nsys", "compute-sanitizer")
_QUERY = "--query-gpu=name,driver_version,memory.total,memory.used,clocks.sm,power.limit"


def main() -> None:
    """Print; the exit code is 1 if the driver's tool shows no GPU."""
    lines, has_gpu = describe()
    print("\n".join(lines))
    sys.exit(0 if has_gpu else 1)


def describe() -> tuple[list[str], bool]:
    """Lines on the GPU, packages and programs, and whether there is a GPU."""
    gpu = _gpu()
    folder, python = tempfile.gettempdir(), platform.python_version()
    free = shutil.disk_usage(folder).free / 1e9
    return [
        f"GPU: {gpu or 'nvidia-smi shows none'}",
        f"Python {python} at {sys.executable}, {os.cpu_count()} cores, {free:.0f} GB free in {folder}",
        "packages: " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        "programs: " + ", ".join(f"{name} {'yes' if shutil.which(name) else 'NO'}" for name in _PROGRAMS),
    ], bool(gpu)


def _gpu() -> str:
    command = ["nvidia-smi", _QUERY, "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "MISSING"


if __name__ == "__main__":
    main()
