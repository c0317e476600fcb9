"""The NVIDIA GPUs of this machine, as the driver reports them. No CUDA package is needed.

Names and numbers are those of CUDA's driver interface
(https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from m3e_runtime.errors import EngineMissingError

__all__ = ["Gpu", "find_gpu"]

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NAME_SIZE = 256


@dataclass(frozen=True)
class Gpu:
    """A GPU: its number, its name, and its compute capability as ``"8.9"``."""

    index: int
    name: str
    compute_capability: str


def find_gpu(index: int = 0) -> Gpu:
    """GPU number ``index`` in CUDA's order, which ``CUDA_VISIBLE_DEVICES`` affects.

    Raises:
        EngineMissingError: no driver, no such GPU, or the driver fails. The message says which.
    """
    driver = _Driver()
    count = ctypes.c_int()
    driver.call("cuDeviceGetCount", ctypes.byref(count))
    if not 0 <= index < count.value:
        raise EngineMissingError(f"there is no GPU {index}: the NVIDIA driver shows {count.value}.")
    device = ctypes.c_int()
    driver.call("cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(_NAME_SIZE)
    driver.call("cuDeviceGetName", name, _NAME_SIZE, device)
    capability = [driver.attribute(which, device) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)]
    return Gpu(index, name.value.decode("utf-8", "replace"), ".".join(map(str, capability)))


class _Driver:
    """The driver's library, initialized."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_DRIVER)
        except OSError as error:
            raise EngineMissingError(
                f"there is no NVIDIA driver here ({_DRIVER} cannot be loaded); use device='cpu'."
            ) from error
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> None:
        """Call ``function``; anything but success is an error."""
        status = getattr(self._library, function)(*arguments)
        if status:
            name = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(name))
            reason = name.value.decode() if name.value else f"error {status}"
            raise EngineMissingError(f"the NVIDIA driver cannot be used: {function} says {reason}.")

    def attribute(self, which: int, device: ctypes.c_int) -> int:
        """An attribute of a device."""
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), which, device)
        return value.value
