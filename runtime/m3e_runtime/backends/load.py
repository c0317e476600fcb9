"""Opening what was chosen."""

from __future__ import annotations

from pathlib import Path

from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.choice import Choice
from m3e_runtime.backends.layout import layout_for
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.gpu import Gpu

__all__ = ["load_backend"]


def load_backend(bundle: Bundle, choice: Choice, threads: int, verify: bool) -> Backend:
    """Open the chosen artifact in its engine.

    Raises:
        BundleError: a file is damaged, or the engine refuses it.
        EngineMissingError: the engine is not installed.
        EngineBuildError: TensorRT has to build an engine for this GPU, and cannot.
        EngineRunError: the GPU has not enough memory.
    """
    artifact = choice.artifact
    model = bundle.verify_artifact(artifact) if verify else bundle.resolve(artifact.files[0])
    dimension = bundle.manifest.dimension
    if choice.gpu is None:
        if choice.backend == "native":
            return NativeCpu(model, threads, dimension)
        return OnnxRuntimeCpu(model, threads, dimension)
    if choice.backend == "tensorrt":
        return _tensorrt(bundle, choice, choice.gpu)
    return _onnxruntime(bundle, choice, choice.gpu, model)


def _tensorrt(bundle: Bundle, choice: Choice, gpu: Gpu) -> Backend:
    from m3e_runtime.backends.tensorrt import TensorRtGpu
    from m3e_runtime.cuda import CudaContext
    from m3e_runtime.trt.engine import Engine
    from m3e_runtime.trt.plans import find_plan, kernel_cache, package_for

    cuda = CudaContext(gpu.index)
    cuda.activate()
    trt = package_for(choice.artifact, gpu)
    plan = find_plan(bundle, choice.artifact, trt, gpu)
    engine = Engine(trt, plan.content, plan.weights, kernel_cache(choice.artifact, trt, gpu))
    layout = layout_for(choice.artifact.layout, bundle.manifest.tokenization.max_length)
    return TensorRtGpu(engine, cuda, gpu, layout, bundle.manifest.dimension)


def _onnxruntime(bundle: Bundle, choice: Choice, gpu: Gpu, model: Path) -> Backend:
    from m3e_runtime.backends.onnx_gpu import OnnxRuntimeGpu
    from m3e_runtime.trt.cache import cache_folder
    from m3e_runtime.trt.options import default_profiles

    artifact, longest = choice.artifact, bundle.manifest.tokenization.max_length
    layout = layout_for(artifact.layout, longest, offsets=True)
    if artifact.format == "onnx":
        return OnnxRuntimeGpu(model, gpu, layout, bundle.manifest.dimension)
    graph = artifact.files[1]  # TensorRT's providers take the graph that lies beside the engine
    cache = cache_folder() / "providers" / graph.sha256[:16]
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    return OnnxRuntimeGpu(
        bundle.resolve(graph),
        gpu,
        layout,
        bundle.manifest.dimension,
        choice.backend,
        default_profiles(longest)[-1:],  # these providers stay with the first they get
        cache,
    )
