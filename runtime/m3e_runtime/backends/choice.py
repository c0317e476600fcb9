"""Choosing an artifact and the engine for it."""

from __future__ import annotations

from m3e_runtime.backends import native
from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.manifest import Artifact

__all__ = ["BACKENDS", "choose_artifact", "load_backend", "why_not_here"]

BACKENDS = ("native", "onnxruntime")

_PRECISIONS = ("int8", "fp32", "fp16")
_FORMATS = ("native", "onnx")
_DIALECTS = (None, "onnxruntime", "standard")
_FORMAT_OF = {"native": "native", "onnxruntime": "onnx"}


def why_not_here(artifact: Artifact) -> str | None:
    """Why ``artifact`` cannot run on this machine, or None when it can."""
    if artifact.format == "tensorrt":
        return "it is an engine for a GPU, and this version runs on a CPU only."
    return native.missing() if artifact.format == "native" else None


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
    usable = [a for a in candidates if why_not_here(a) is None]
    if not usable:
        first = candidates[0]
        raise EngineMissingError(f"{bundle.path}: {first.name} cannot be used, {why_not_here(first)}")
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
        EngineMissingError: the engine is not installed.
    """
    if device not in ("auto", "cpu"):
        raise OptionError(f"device={device!r} is not available; use 'cpu' or 'auto'.")
    model = bundle.verify_artifact(artifact) if verify else bundle.resolve(artifact.files[0])
    if artifact.format == "native":
        return NativeCpu(model, threads, bundle.manifest.dimension)
    return OnnxRuntimeCpu(model, threads, bundle.manifest.dimension)
