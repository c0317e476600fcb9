"""Choosing the artifact, its engine and the device: the fastest that this machine can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from m3e_runtime.backends import native, onnx
from m3e_runtime.backends.device import DeviceRequest, parse_device
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.manifest import Artifact

__all__ = [
    "BACKENDS",
    "CPU_BACKENDS",
    "TARGET_ORDER",
    "Choice",
    "choose",
    "is_for_gpu",
    "why_not_here",
]

CPU_BACKENDS = ("native", "onnxruntime")
BACKENDS = (*CPU_BACKENDS, "tensorrt", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx")
_PROVIDER_PACKAGE = {"onnxruntime-tensorrt": "tensorrt", "onnxruntime-tensorrt-rtx": "tensorrt_rtx"}
_EXPORT_FOR_CPU = "For a CPU, export the checkpoint with `--target native cpu`."
_EXPORT_FOR_GPU = "For a GPU, export the checkpoint with `--target cuda` or `tensorrt-rtx`."

_CPU_ORDER = ("int8", "fp32", "fp16")
"""fp16 follows fp32: its weights are rounded, and it is faster only where products of bfloat16 are."""
_GPU_ORDER = ("fp16", "int8", "fp32")
"""fp16 is first: int8 on a GPU is not measured."""
_BACKEND_ORDER = ("tensorrt", "native", "onnxruntime", "onnxruntime-tensorrt-rtx", "onnxruntime-tensorrt")
TARGET_ORDER = ("cuda", "cuda-packed", "cpu", "portable")
"""Of two graphs of one precision, the first is taken."""


@dataclass(frozen=True)
class Choice:
    """An artifact, its backend, and the GPU, which is None for the CPU. ``why`` is the reason in words."""

    artifact: Artifact
    backend: str
    gpu: Gpu | None
    why: str


@dataclass(frozen=True)
class _Candidate:
    artifact: Artifact
    backend: str

    @property
    def for_gpu(self) -> bool:
        return is_for_gpu(self.artifact)

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key, fastest first: GPUs before CPUs, then by the speed of the precision there."""
        order = _GPU_ORDER if self.for_gpu else _CPU_ORDER
        targets = (*TARGET_ORDER, self.artifact.target)
        if self.for_gpu:
            return (0, _BACKEND_ORDER.index(self.backend), order.index(self.artifact.precision),
                    targets.index(self.artifact.target))  # fmt: skip
        return (1, order.index(self.artifact.precision), _BACKEND_ORDER.index(self.backend),
                targets.index(self.artifact.target))  # fmt: skip


def choose(
    bundle: Bundle,
    device: str = "auto",
    name: str | None = None,
    backend: str | None = None,
    failed: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Choice:
    """Choose the fastest artifact and backend of the bundle for ``device``.

    Args:
        bundle: the opened bundle.
        device: see :func:`m3e_runtime.backends.device.parse_device`.
        name: consider this artifact only.
        backend: consider this one of :data:`BACKENDS` only.
        failed: artifacts and backends that could not be opened, with the reason.

    Raises:
        OptionError: an unknown device, artifact or backend, or no artifact fits all three.
        EngineMissingError: the fitting artifacts cannot run here. The message has each one's reason.
    """
    request = parse_device(device)
    search = _Search(request)
    candidates = _fitting(bundle, request, name, backend)
    refused: dict[str, list[str]] = {}  # names by reason: several often share one
    for candidate in sorted(candidates, key=lambda each: each.rank):
        reason = failed.get((candidate.artifact.name, candidate.backend)) or search.why_not(candidate)
        if reason is None:
            found = search.gpu if candidate.for_gpu else None
            return Choice(candidate.artifact, candidate.backend, found, _why(candidate, found, refused, name))
        refused.setdefault(reason, []).append(candidate.artifact.name)
    raise EngineMissingError(f"{bundle.path}: {'; '.join(_refusals(refused))}.")


def why_not_here(artifact: Artifact) -> str | None:
    """The reason why ``artifact`` cannot run on this machine, or None."""
    backend = next(_backends(artifact))
    return _Search(DeviceRequest("auto")).why_not(_Candidate(artifact, backend))


def is_for_gpu(artifact: Artifact) -> bool:
    """Whether ``artifact`` runs on a GPU only."""
    return artifact.format == "tensorrt" or artifact.target.startswith("cuda")


def _backends(artifact: Artifact) -> Iterator[str]:
    """The backends for it, the default first."""
    yield {"native": "native", "onnx": "onnxruntime", "tensorrt": "tensorrt"}[artifact.format]
    if artifact.format == "tensorrt" and artifact.layout == "padded":
        yield from _PROVIDER_PACKAGE  # ONNX Runtime's providers take the graph that lies beside the engine


def _fitting(
    bundle: Bundle, request: DeviceRequest, name: str | None, backend: str | None
) -> list[_Candidate]:
    if backend is not None and backend not in BACKENDS:
        raise OptionError(f"backend={backend!r} is unknown; use one of {', '.join(BACKENDS)}.")
    artifacts = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    if name is not None and name not in artifacts:
        raise OptionError(f"{bundle.path} has no artifact {name!r}; it has: {', '.join(artifacts)}.")
    considered = [artifacts[name]] if name is not None else list(artifacts.values())
    pairs = [
        _Candidate(artifact, each)
        for artifact in considered
        for each in _backends(artifact)
        # ONNX Runtime's TensorRT providers are used on request only.
        if each == (backend or next(_backends(artifact)))
    ]
    if not pairs:
        raise OptionError(
            f"{bundle.path} has nothing for backend={backend!r}; it has: {', '.join(artifacts)}."
        )
    fitting = [pair for pair in pairs if _fits_device(pair, request)]
    if not fitting:
        advice = _EXPORT_FOR_CPU if request.kind == "cpu" else _EXPORT_FOR_GPU
        names = ", ".join(dict.fromkeys(pair.artifact.name for pair in pairs))
        raise OptionError(f"{bundle.path}: device={request.kind!r} cannot run {names}. {advice}")
    return fitting


def _fits_device(candidate: _Candidate, request: DeviceRequest) -> bool:
    if request.kind == "auto":
        return True
    if request.kind == "tensorrt":
        return candidate.artifact.format == "tensorrt"
    return candidate.for_gpu == (request.kind == "cuda")


class _Search:
    """Examines the machine only as far as the candidates require: querying a driver takes time."""

    def __init__(self, request: DeviceRequest) -> None:
        self._request = request
        self.gpu = request.gpu() if request.needs_gpu else None  # without one, nothing else matters
        self._why_no_gpu: str | None = None

    def why_not(self, candidate: _Candidate) -> str | None:
        """The reason why ``candidate`` cannot run here, or None."""
        if not candidate.for_gpu:
            return native.missing() if candidate.backend == "native" else onnx.missing()
        if self.gpu is None and self._why_no_gpu is None:
            try:
                self.gpu = self._request.gpu()
            except EngineMissingError as error:
                self._why_no_gpu = str(error)
        if self.gpu is None:
            return f"it is for a GPU, and {self._why_no_gpu} {_EXPORT_FOR_CPU}"
        return _why_no_engine(candidate, self.gpu)


def _why_no_engine(candidate: _Candidate, gpu: Gpu) -> str | None:
    """The reason why the GPU's packages cannot be used, or None. They are imported only if there is a GPU."""
    from m3e_runtime.gpu.providers import check_provider
    from m3e_runtime.gpu.tensorrt.package import find_package
    from m3e_runtime.gpu.tensorrt.plans import why_no_plan

    if candidate.backend == "tensorrt":
        return why_no_plan(candidate.artifact, gpu)
    try:
        package = _PROVIDER_PACKAGE.get(candidate.backend)
        if package:
            find_package(package)
        check_provider(candidate.backend)
    except EngineMissingError as error:
        return str(error)
    return None


def _refusals(refused: Mapping[str, list[str]]) -> list[str]:
    return [f"{', '.join(names)} cannot be used, {reason.rstrip('.')}" for reason, names in refused.items()]


def _why(candidate: _Candidate, gpu: Gpu | None, refused: Mapping[str, list[str]], name: str | None) -> str:
    where = gpu.name if gpu is not None else "the CPU"
    chosen = "as asked for" if name is not None else f"the fastest on {where} of what the bundle holds"
    return "; ".join([f"{candidate.artifact.name} on {where}: {chosen}", *_refusals(refused)])
