"""The argument ``device=``, and the device that it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.gpu.driver import Gpu, find_gpu

__all__ = ["DeviceRequest", "device_name", "parse_device"]

_GPU_DEVICE = re.compile(r"(cuda|tensorrt)(?::(\d+))?")
_OLDEST_GPU = (7, 5)
"""Turing. TensorRT 10 and CUDA 13 do not support older GPUs (their support matrices)."""


@dataclass(frozen=True)
class DeviceRequest:
    """A kind of device, and the number of the GPU."""

    kind: Literal["auto", "cpu", "cuda", "tensorrt"]
    index: int = 0

    @property
    def needs_gpu(self) -> bool:
        """Whether a GPU is required, and must not be replaced by the CPU."""
        return self.kind in ("cuda", "tensorrt")

    def gpu(self) -> Gpu:
        """The GPU.

        Raises:
            EngineMissingError: there is no GPU or no driver, or the GPU is too old.
        """
        gpu = find_gpu(self.index)
        if tuple(map(int, gpu.compute_capability.split("."))) < _OLDEST_GPU:
            oldest = ".".join(map(str, _OLDEST_GPU))
            raise EngineMissingError(
                f"{gpu.name} has compute capability {gpu.compute_capability}, at least {oldest} is needed; "
                "use device='cpu'."
            )
        return gpu


def device_name(device: Any) -> str:
    """Convert what torch and sentence-transformers accept to an argument of :func:`parse_device`.

    None is ``auto``, a number is the GPU of that number, a ``torch.device`` is its name.

    Raises:
        OptionError: something else.
    """
    if device is None:
        return "auto"
    if isinstance(device, int) and not isinstance(device, bool):
        device = f"cuda:{device}"
    elif hasattr(device, "type") and hasattr(device, "index"):
        device = str(device)
    if not isinstance(device, str):
        raise OptionError(f"device={device!r} is {type(device).__name__}, not the name of a device.")
    return "cpu" if device == "cpu:0" else device  # torch's name for it


def parse_device(device: str) -> DeviceRequest:
    """Parse ``auto``, ``cpu``, ``cuda`` or ``tensorrt``, the last two with an optional number of a GPU.

    Raises:
        OptionError: something else.
    """
    if device == "auto":
        return DeviceRequest("auto")
    if device == "cpu":
        return DeviceRequest("cpu")
    found = _GPU_DEVICE.fullmatch(device)
    if not found:
        raise OptionError(f"device={device!r} is unknown; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'tensorrt'.")
    index = int(found[2] or 0)
    return DeviceRequest("cuda" if found[1] == "cuda" else "tensorrt", index)
