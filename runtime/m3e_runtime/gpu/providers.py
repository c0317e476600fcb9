"""ONNX Runtime's execution providers for GPUs: their availability and options.

Options are those of https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html,
TensorRT-ExecutionProvider.html and TensorRTRTX-ExecutionProvider.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3e_runtime.errors import EngineMissingError

if TYPE_CHECKING:
    from m3e_runtime.gpu.tensorrt.options import Profile

__all__ = ["PROVIDERS", "check_provider", "load_onnxruntime", "provider_options"]

PROVIDERS = {
    "onnxruntime": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
"""By the names of our backends."""

_FLASH_AND_EFFICIENT = "3"
"""Attention kernels to choose from: flash (1) and memory-efficient (2).

The second must be among them, since the row starts in our mask mean something else to all others. That a
choice is made lets flash attention take short packed texts too (packed_multihead_attention.cc).
"""

_SUMS_IN_FLOAT = (1, 28)
"""From this version on, SkipLayerNormalization in fp16 always sums in float32."""


def load_onnxruntime() -> Any:
    """Import ONNX Runtime with the CUDA libraries that were installed as packages.

    Raises:
        EngineMissingError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineMissingError(
            f"ONNX Runtime cannot be used: {error}. Install it: `pip install 'm3e-runtime[gpu]'`."
        ) from error
    return onnxruntime


def check_provider(backend: str) -> None:
    """Check that the installed ONNX Runtime has the provider of ``backend``.

    Raises:
        EngineMissingError: it does not. The message says what to install.
    """
    library = load_onnxruntime()
    provider = PROVIDERS[backend]
    available = library.get_available_providers()
    if provider in available:
        return
    if "CUDAExecutionProvider" not in available:
        raise EngineMissingError(
            "ONNX Runtime is there in its package for CPUs: "
            "`pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'm3e-runtime[gpu]'`."
        )
    raise EngineMissingError(f"this ONNX Runtime has no {provider}; it has {', '.join(available)}.")


def provider_options(
    backend: str,
    version: str,
    device: int,
    profiles: tuple[Profile, ...],
    inputs: tuple[str, ...],
    cache: Path,
    memory_limit: int | None,
) -> dict[str, str]:
    """Options of the provider of ``backend``.

    Args:
        backend: a name in :data:`PROVIDERS`.
        version: of ONNX Runtime.
        device: number of the GPU.
        profiles: shapes that TensorRT chooses kernels for; padded inputs only.
        inputs: names of the graph's inputs.
        cache: folder for what is made for this GPU.
        memory_limit: bytes of the GPU that may be held; None: any.
    """
    if backend == "onnxruntime":
        return _cuda(version, device, memory_limit)
    shapes = _profile_shapes(profiles, inputs)
    common = {"device_id": str(device)}
    if backend == "onnxruntime-tensorrt":
        return common | _tensorrt(shapes, cache, memory_limit)
    return common | _tensorrt_rtx(shapes, cache, memory_limit)


def _cuda(version: str, device: int, memory_limit: int | None) -> dict[str, str]:
    options = {
        "device_id": str(device),
        # The default strategy doubles its allocations and keeps them.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
        "enable_cuda_graph": "1",
        "sdpa_kernel": _FLASH_AND_EFFICIENT,
    }
    if _numbers(version) < _SUMS_IN_FLOAT:
        options["enable_skip_layer_norm_strict_mode"] = "1"
    if memory_limit is not None:
        options["gpu_mem_limit"] = str(memory_limit)
    return options


def _tensorrt(shapes: dict[str, str], cache: Path, memory_limit: int | None) -> dict[str, str]:
    options = {
        "trt_fp16_enable": "1",
        "trt_int8_enable": "1",  # as the graph's own quantization operators say
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
        **{f"trt_profile_{at}_shapes": text for at, text in shapes.items()},
    }
    if memory_limit is not None:
        options["trt_max_workspace_size"] = str(memory_limit)
    return options


def _tensorrt_rtx(shapes: dict[str, str], cache: Path, memory_limit: int | None) -> dict[str, str]:
    options = {
        "enable_cuda_graph": "1",
        "nv_runtime_cache_path": str(cache),
        **{f"nv_profile_{at}_shapes": text for at, text in shapes.items()},
    }
    if memory_limit is not None:
        options["nv_max_workspace_size"] = str(memory_limit)
    return options


def _profile_shapes(profiles: tuple[Profile, ...], inputs: tuple[str, ...]) -> dict[str, str]:
    """``input_ids:1x1,input_ids:1x1`` and so on: an input comes once for each profile, in their order."""

    def text(at: str) -> str:
        sizes = [f"{getattr(each.texts, at)}x{getattr(each.tokens, at)}" for each in profiles]
        return ",".join(f"{name}:{size}" for size in sizes for name in inputs)

    return {"min": text("least"), "opt": text("usual"), "max": text("most")}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
