"""This package's own CPU engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import m3e_runtime
from m3e_runtime.errors import BundleError, EngineMissingError
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.under_way import under_way

try:
    import m3e_runtime._native as _native
except ImportError as error:
    _import_error: ImportError | None = error
else:
    _import_error = None

__all__ = ["NativeCpu", "engine_path", "missing"]


def missing() -> str | None:
    """Why the native engine cannot be used here, or None when it can."""
    if _import_error is None:
        return None
    return (
        "the native engine was not built: install m3e-runtime where there is a C++17 compiler "
        f"({_import_error})."
    )


def engine_path() -> Path:
    """Folder of the C interface: ``include/m3e.h``, the shared library and a CMake config in ``lib``.

    Raises:
        EngineMissingError: the engine was not built.
    """
    if reason := missing():
        raise EngineMissingError(reason)
    return Path(_native.__file__).parent / "engine"


class NativeCpu:
    """Packed computation: no padding is ever computed, and a text's vector does not depend on its batch."""

    name = "native"
    pads = False
    token_budget = 16384
    """Enough for all threads to share evenly; the engine bounds its memory itself."""

    def __init__(
        self, model: Path, threads: int, dimension: int | None = None, instruction_set: str = ""
    ) -> None:
        if reason := missing():
            raise EngineMissingError(reason)
        self.version = m3e_runtime.__version__
        try:
            self._engine = _native.NativeEncoder(model, threads, instruction_set)
        except (OSError, ValueError) as error:
            raise BundleError(f"{model}: the native engine cannot load it: {error}.") from error
        self.threads = threads
        self.instruction_set: str | None = self._engine.instruction_set
        if dimension is not None and self._engine.dimension != dimension:
            raise BundleError(
                f"{model}: gives {self._engine.dimension} dimensions, the manifest says {dimension}. "
                "Export it again."
            )

    def most_texts(self, longest: int) -> int | None:
        """See :class:`m3e_runtime.backends.base.Backend`."""
        del longest
        return None

    def run(
        self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None = None
    ) -> npt.NDArray[np.float32]:
        """Encode texts together; see :class:`m3e_runtime.backends.base.Backend`."""
        offsets = np.zeros(len(token_ids) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in token_ids], out=offsets[1:])
        flat = token_ids[0] if len(token_ids) == 1 else np.concatenate(token_ids)
        vectors = np.empty((len(token_ids), self._engine.dimension), dtype=np.float32)
        prompts = None if prompt_lengths is None else np.array(prompt_lengths, dtype=np.int64)
        stop = _native.Stop()
        with under_way(stop.set):  # it looks at signals itself
            self._engine.encode(np.ascontiguousarray(flat), offsets, vectors, prompts, stop)
        return vectors
