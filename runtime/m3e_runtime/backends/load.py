"""Loading the chosen artifact in its engine."""

from __future__ import annotations

import functools
from pathlib import Path

from m3e_runtime.backends import native
from m3e_runtime.backends.base import Backend
from m3e_runtime.backends.choice import Choice, choose
from m3e_runtime.backends.device import parse_device
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import BundleError, EngineBuildError, EngineMissingError, EngineRunError
from m3e_runtime.gpu.driver import Gpu

__all__ = ["load_backend", "open_best"]


def open_best(
    bundle: Bundle, device: str, name: str | None, backend: str | None, threads: int, verify: bool
) -> tuple[Choice, Backend]:
    """Choose by :func:`m3e_runtime.backends.choice.choose`, and load.

    An artifact for a GPU that fails to load is skipped, unless a GPU is required.

    Raises:
        M3EError: as :func:`choose` and :func:`load_backend`.
    """
    failed: dict[tuple[str, str], str] = {}
    while True:
        choice = choose(bundle, device, name, backend, failed)
        if name is None and backend is None:
            _warn_without_native(bundle, choice)
        try:
            return choice, load_backend(bundle, choice, threads, verify)
        except (EngineMissingError, EngineBuildError, EngineRunError) as error:
            if choice.gpu is None or parse_device(device).needs_gpu:
                raise
            failed[choice.artifact.name, choice.backend] = str(error)


def _warn_without_native(bundle: Bundle, choice: Choice) -> None:
    """Warn if the native engine could run this bundle but is not installed."""
    reason = native.missing()
    has_weights = any(artifact.format == "native" for artifact in bundle.manifest.artifacts)
    if reason and has_weights and choice.gpu is None and not native.left_out():
        _warn_once(f"{reason} ONNX Runtime runs {choice.artifact.name} in its place.")


@functools.cache
def _warn_once(message: str) -> None:
    _warn("%s", message)


def _warn(message: str, *arguments: object) -> None:
    import logging  # here, because it is seldom needed and slow to import

    logging.getLogger(__name__).warning(message, *arguments)


def load_backend(bundle: Bundle, choice: Choice, threads: int, verify: bool) -> Backend:
    """Load the chosen artifact in its engine.

    Raises:
        BundleError: a file is damaged, or the engine rejects it.
        EngineMissingError: the engine is not installed.
        EngineBuildError: TensorRT cannot build an engine for this GPU.
        EngineRunError: the GPU has not enough memory.
    """
    artifact = choice.artifact
    model = bundle.verify_artifact(artifact) if verify else bundle.resolve(artifact.files[0])
    dimension, include_prompt = bundle.manifest.dimension, bundle.manifest.include_prompt
    token_types = _takes_token_types(bundle)
    if choice.gpu is None:
        if choice.backend == "native":
            return NativeCpu(model, threads, dimension)
        return OnnxRuntimeCpu(
            model, threads, dimension, include_prompt=include_prompt, token_types=token_types
        )
    if not include_prompt:
        raise BundleError(f"{model}: include_prompt=false is not supported on a GPU; use device='cpu'.")
    if choice.backend == "tensorrt":
        return _tensorrt(bundle, choice, choice.gpu)
    return _onnxruntime(bundle, choice, choice.gpu, model)


def _takes_token_types(bundle: Bundle) -> bool:
    classification = bundle.manifest.classification
    return classification is not None and classification.token_types


def _tensorrt(bundle: Bundle, choice: Choice, gpu: Gpu) -> Backend:
    from m3e_runtime.gpu.batch_shapes import layout_for
    from m3e_runtime.gpu.cuda import CudaContext
    from m3e_runtime.gpu.tensorrt.engine import Engine
    from m3e_runtime.gpu.tensorrt.plans import find_plan, kernel_cache, package_for
    from m3e_runtime.gpu.tensorrt_backend import TensorRtGpu

    artifact = choice.artifact
    cuda = CudaContext(gpu.index)
    with cuda.active():
        trt = package_for(artifact, gpu)
        plan = find_plan(bundle, artifact, trt, gpu)
        kernels = kernel_cache(bundle, artifact, trt, gpu)
        try:
            engine = Engine(trt, cuda, plan.content, plan.weights, kernels)
        except BundleError as error:
            raise BundleError(f"{plan.origin}: {error}") from error
        longest = bundle.manifest.tokenization.max_length
        layout = layout_for(artifact.layout, longest, token_types=_takes_token_types(bundle))
        return TensorRtGpu(engine, cuda, gpu, layout, bundle.manifest.dimension)


def _onnxruntime(bundle: Bundle, choice: Choice, gpu: Gpu, model: Path) -> Backend:
    from m3e_runtime.cache import cache_folder
    from m3e_runtime.gpu.batch_shapes import layout_for
    from m3e_runtime.gpu.onnxruntime_backend import OnnxRuntimeGpu
    from m3e_runtime.gpu.tensorrt.options import default_profiles

    artifact, longest = choice.artifact, bundle.manifest.tokenization.max_length
    types = _takes_token_types(bundle)
    layout = layout_for(artifact.layout, longest, offsets=True, token_types=types)
    if artifact.format == "onnx":
        return OnnxRuntimeGpu(model, gpu, layout, bundle.manifest.dimension)
    graph = artifact.files[1]  # TensorRT's providers take the graph that lies beside the engine
    cache = _writable(cache_folder() / "providers" / graph.sha256[:16])
    return OnnxRuntimeGpu(
        bundle.resolve(graph),
        gpu,
        layout,
        bundle.manifest.dimension,
        choice.backend,
        default_profiles(longest)[-1:],  # these providers stay with the first they get
        cache,
    )


def _writable(folder: Path) -> Path:
    """``folder``, or a temporary one if it cannot be created; its content is then made again each time."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        import tempfile

        _warn("%s cannot be made: %s.", folder, error.strerror)
        return Path(tempfile.mkdtemp(prefix="m3e-"))
    return folder
