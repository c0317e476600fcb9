"""The plan of an artifact: its own if it fits this GPU, else one built here from its graph."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from m3e_runtime.bundle import Bundle
from m3e_runtime.cache import CacheEntry, cache_folder
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.gpu.driver import Gpu
from m3e_runtime.gpu.tensorrt.build import build_engine, choose_capabilities
from m3e_runtime.gpu.tensorrt.options import EngineOptions, Profile, default_profiles
from m3e_runtime.gpu.tensorrt.package import PACKAGES, TensorRT, find_package
from m3e_runtime.manifest import Artifact

__all__ = ["Plan", "find_plan", "kernel_cache", "package_for", "why_no_plan", "why_not_fit"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A serialized engine, its file, and the graph with the weights if it has none."""

    content: bytes
    origin: str
    weights: Path | None = None


def why_not_fit(artifact: Artifact, trt: TensorRT, gpu: Gpu) -> str | None:
    """The reason why the artifact's own engine does not fit this package and GPU, or None.

    An engine is bound to the version that built it and the GPUs that it was built for.
    """
    built_with = artifact.requires.get(trt.name)
    if built_with is None:
        return f"it was not built with {trt.name}"
    if built_with != trt.version:
        return f"it was built with {trt.name} {built_with}, here is {trt.version}"
    if _from_here_on(artifact, gpu):
        return None
    capabilities = artifact.requires.get("compute_capabilities", "").split()
    if gpu.compute_capability not in capabilities:
        return (
            f"it was built for compute capability {', '.join(capabilities)}, "
            f"{gpu.name} has {gpu.compute_capability}"
        )
    return None


def package_for(artifact: Artifact, gpu: Gpu) -> TensorRT:
    """The package for ``artifact``: the one that built its engine, or one that can build it again.

    Raises:
        EngineMissingError: there is none; the message has the reason for each.
    """
    reasons = []
    for name in sorted(PACKAGES, key=lambda each: each not in artifact.requires):
        if artifact.layout == "packed" and name not in artifact.requires:
            continue  # it was built so because that package has the kernels
        try:
            trt = find_package(name)
            if why_not_fit(artifact, trt, gpu) is not None:
                choose_capabilities(trt, _capabilities(trt, gpu))
        except (EngineMissingError, OptionError) as error:
            reasons.append(str(error))
        else:
            return trt
    raise EngineMissingError(" ".join(reasons))


def why_no_plan(artifact: Artifact, gpu: Gpu) -> str | None:
    """The reason why ``artifact`` has no engine for this GPU and none can be built, or None."""
    try:
        package_for(artifact, gpu)
    except EngineMissingError as error:
        return str(error)
    return None


def find_plan(
    bundle: Bundle, artifact: Artifact, trt: TensorRT, gpu: Gpu, show_progress: bool | None = None
) -> Plan:
    """The artifact's own plan, or one for this GPU from the cache, or a new one.

    Raises:
        EngineBuildError: TensorRT cannot build a new one.
        OptionError: ``tensorrt_rtx`` does not know this GPU.
    """
    plan, graph = (bundle.resolve(entry) for entry in artifact.files[:2])
    reason = why_not_fit(artifact, trt, gpu)
    if reason is None:
        stripped = artifact.requires.get("weights") == "graph"
        return Plan(plan.read_bytes(), str(plan), graph if stripped else None)
    kept = CacheEntry("engines", _identity(bundle, artifact, trt, gpu))
    content = kept.read()
    if content is not None:
        return Plan(content, str(kept.path))
    logger.info("%s: the engine is built anew, %s.", artifact.name, reason)
    content = build_engine(trt, graph, _options(bundle, artifact, trt, gpu), show_progress).plan
    kept.write(content)
    return Plan(content, str(kept.path))


def kernel_cache(bundle: Bundle, artifact: Artifact, trt: TensorRT, gpu: Gpu) -> CacheEntry:
    """The cache of kernels that ``tensorrt_rtx`` compiles while the artifact runs on this GPU."""
    return CacheEntry("kernels", _identity(bundle, artifact, trt, gpu))


def _from_here_on(artifact: Artifact, gpu: Gpu) -> bool:
    """Whether the engine runs on all GPUs from some compute capability on, and this is one of them."""
    oldest = artifact.requires.get("from_compute_capability")
    return oldest is not None and float(gpu.compute_capability) >= float(oldest)


def _profiles(bundle: Bundle, artifact: Artifact) -> tuple[Profile, ...]:
    return default_profiles(bundle.manifest.tokenization.max_length, artifact.layout)


def _capabilities(trt: TensorRT, gpu: Gpu) -> tuple[str, ...]:
    return () if trt.needs_gpu_to_build else (gpu.compute_capability,)


def _identity(bundle: Bundle, artifact: Artifact, trt: TensorRT, gpu: Gpu) -> dict[str, str]:
    """Everything that determines an engine's content."""
    return {
        "profiles": repr(_profiles(bundle, artifact)),
        "graph": artifact.files[1].sha256,
        "package": f"{trt.name} {trt.version}",
        "gpu": f"{gpu.name} {gpu.compute_capability}",
        "layout": artifact.layout,
    }


def _options(bundle: Bundle, artifact: Artifact, trt: TensorRT, gpu: Gpu) -> EngineOptions:
    timings = cache_folder() / f"timings-{trt.version}-{gpu.compute_capability}.bin"
    return EngineOptions(
        profiles=_profiles(bundle, artifact),
        compute_capabilities=_capabilities(trt, gpu),
        timing_cache=str(timings),
    )
