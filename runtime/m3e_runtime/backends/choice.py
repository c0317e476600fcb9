"""Choosing an artifact and the engine for it."""

from __future__ import annotations

from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Artifact

__all__ = ["choose_artifact", "load_backend"]

_FASTEST_FIRST = ("int8", "fp32", "fp16")
_DIALECTS = ("onnxruntime", "standard")


def choose_artifact(bundle: Bundle, name: str | None = None) -> Artifact:
    """The artifact called ``name``, or the fastest on a CPU that the bundle has.

    fp16 comes after fp32: on a CPU both compute in fp32, and fp16 has rounded weights.

    Raises:
        OptionError: the bundle has no artifact of that name.
    """
    artifacts = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    if name is not None:
        if name not in artifacts:
            raise OptionError(f"{bundle.path} has no artifact {name!r}; it has: {', '.join(artifacts)}.")
        return artifacts[name]
    return min(
        artifacts.values(),
        key=lambda a: (_FASTEST_FIRST.index(a.precision), _DIALECTS.index(a.dialect)),
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
    return OnnxRuntimeCpu(model, threads, bundle.manifest.dimension)
