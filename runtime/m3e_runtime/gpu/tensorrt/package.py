"""The two packages of TensorRT, which share an interface: ``tensorrt`` and ``tensorrt_rtx``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from m3e_runtime.errors import EngineMissingError

__all__ = ["PACKAGES", "TensorRT", "find_package"]

PACKAGES = ("tensorrt", "tensorrt_rtx")

_INSTALL = {
    "tensorrt": "pip install 'm3e-runtime[tensorrt]'",
    "tensorrt_rtx": "pip install 'm3e-runtime[tensorrt-rtx]'",
}
_OLDEST = {"tensorrt": (10,), "tensorrt_rtx": (1, 2)}


@dataclass(frozen=True)
class TensorRT:
    """An imported package: its name, its module (the library's own interface) and its version."""

    name: str
    module: Any
    version: str

    @property
    def needs_gpu_to_build(self) -> bool:
        """``tensorrt`` times kernels on the GPU that it builds for; ``tensorrt_rtx`` compiles them there."""
        return self.name == "tensorrt"


def find_package(name: str) -> TensorRT:
    """Import the package called ``name``: ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        EngineMissingError: not installed, without its libraries, or too old; it says what to install.
    """
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: the package is there and a library it loads is not
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EngineMissingError(
            f"{name} cannot be used: {reason}. Install it: `{_INSTALL[name]}`."
        ) from error
    version = str(module.__version__)
    if _numbers(version) < _OLDEST[name]:
        oldest = ".".join(map(str, _OLDEST[name]))
        raise EngineMissingError(
            f"{name} {version} is too old, {oldest} is needed: `{_INSTALL[name]} --upgrade`."
        )
    return TensorRT(name, module, version)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts if part.isdigit())
