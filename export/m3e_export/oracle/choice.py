"""Which oracle judges: PyTorch's model when it can be had."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import Checkpoint
from m3e_export.errors import ExportDependencyError
from m3e_export.oracle.numpy_oracle import NumpyOracle

__all__ = ["Oracle", "OracleName", "load_oracle"]

OracleName = Literal["auto", "torch", "numpy"]


class Oracle(Protocol):
    """The original model. ``name`` goes into the manifest."""

    name: str

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each.

        ``tick`` is told of every text done.
        """
        ...


def load_oracle(checkpoint: Checkpoint, name: OracleName = "auto") -> Oracle:
    """The oracle for ``checkpoint``: ``auto`` takes torch when torch and transformers are installed.

    Raises:
        ExportDependencyError: torch is asked for and not installed.
    """
    installed = all(importlib.util.find_spec(package) for package in ("torch", "transformers"))
    if name == "torch" and not installed:
        raise ExportDependencyError("--oracle torch needs `pip install 'm3e-runtime[torch]'`.")
    if name == "numpy" or not installed:
        return NumpyOracle(checkpoint)
    from m3e_export.oracle.torch_oracle import TorchOracle

    return TorchOracle(checkpoint)
