"""Choosing an artifact and the engine for it."""

from __future__ import annotations

import re
from typing import NoReturn

from m3e_runtime.backends import native
from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.gpu import find_gpu
from m3e_runtime.manifest import Artifact

__all__ = ["BACKENDS", "choose_artifact", "load_backend", "why_not_here"]

BACKENDS = ("native", "onnxruntime")

_PRECISIONS = ("int8", "fp32", "fp16")
_FORMATS = ("native", "onnx")
_DIALECTS = (None, "onnxruntime", "standard")
_FORMAT_OF = {"native": "native", "onnxruntime": "onnx"}
_EXPORT_AGAIN = "For a CPU, export the checkpoint with `--target native cpu`."
_GPU_DEVICE = re.compile(r"(?:cuda|tensorrt)(?::(\d+))?")


def _runs_here(artifact: Artifact) -> bool:
    """As :func:`why_not_here`, without asking the GPU's driver: its start would be felt in every load."""
    return artifact.format == "onnx" or (artifact.format == "native" and native.missing() is None)


def why_not_here(artifact: Artifact) -> str | None:
    """Why ``artifact`` cannot run on this machine, or None when it can."""
    if artifact.format == "tensorrt":
        return _why_no_engine(artifact)
    return native.missing() if artifact.format == "native" else None


def _why_no_engine(artifact: Artifact) -> str:
    try:
        gpu = find_gpu()
    except EngineMissingError as error:
        return f"it is an engine for a GPU, and {error} {_EXPORT_AGAIN}"
    capabilities = artifact.requires.get("compute_capabilities", "").split()
    if capabilities and gpu.compute_capability not in capabilities:
        return (
            f"it is an engine for GPUs of compute capability {', '.join(capabilities)}, and {gpu.name} has "
            f"{gpu.compute_capability}. {_EXPORT_AGAIN}"
        )
    return f"it is an engine for a GPU; this version builds engines but runs on a CPU only. {_EXPORT_AGAIN}"


def choose_artifact(bundle: Bundle, name: str | None = None, backend: str | None = None) -> Artifact:
    """The artifact called ``name``, or the fastest that the bundle has and that runs on a CPU here.

    fp16 comes after fp32: on a CPU both compute in fp32, and fp16 has rounded weights.

    Raises:
        OptionError: the bundle has no artifact of that name, or none for ``backend``.
        EngineMissingError: none of its artifacts can run here.
    """
    if backend is not None and backend not in BACKENDS:
        raise OptionError(f"backend={backend!r} is unknown; use one of {', '.join(BACKENDS)}.")
    artifacts = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    if name is not None:
        if name not in artifacts:
            raise OptionError(f"{bundle.path} has no artifact {name!r}; it has: {', '.join(artifacts)}.")
        candidates = [artifacts[name]]
    else:
        candidates = list(artifacts.values())
    if backend is not None:
        candidates = [a for a in candidates if a.format == _FORMAT_OF[backend]]
    if not candidates:
        raise OptionError(
            f"{bundle.path} has nothing for backend={backend!r}; it has: {', '.join(artifacts)}."
        )
    usable = [a for a in candidates if _runs_here(a)]
    if not usable:
        reasons = "; ".join(f"{a.name} cannot be used, {why_not_here(a)}" for a in candidates)
        raise EngineMissingError(f"{bundle.path}: {reasons}")
    return min(
        usable,
        key=lambda a: (
            _PRECISIONS.index(a.precision),
            _FORMATS.index(a.format),
            _DIALECTS.index(a.dialect),
        ),
    )


def load_backend(bundle: Bundle, artifact: Artifact, device: str, threads: int, verify: bool) -> Backend:
    """Load ``artifact`` on ``device``.

    Raises:
        OptionError: the device is unknown, or not served by this version.
        BundleError: a file is damaged, or the engine refuses it.
        EngineMissingError: the engine is not installed, or a GPU was asked for.
    """
    if device not in ("auto", "cpu"):
        _refuse(device)
    model = bundle.verify_artifact(artifact) if verify else bundle.resolve(artifact.files[0])
    if artifact.format == "native":
        return NativeCpu(model, threads, bundle.manifest.dimension)
    return OnnxRuntimeCpu(model, threads, bundle.manifest.dimension)


def _refuse(device: str) -> NoReturn:
    """A GPU that was asked for is never quietly replaced by the CPU."""
    found = _GPU_DEVICE.fullmatch(device)
    if not found:
        raise OptionError(f"device={device!r} is unknown; use 'cpu' or 'auto'.")
    gpu = find_gpu(int(found[1] or 0))
    raise EngineMissingError(
        f"device={device!r}: {gpu.name} is there, but this version runs on a CPU only; use device='cpu'."
    )
