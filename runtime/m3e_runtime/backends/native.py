"""This package's own CPU engine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import m3e_runtime
from m3e_runtime.backends.base import TERM_TEXTS
from m3e_runtime.backends.unloading import Closed, return_free_memory
from m3e_runtime.engine_files import library_file
from m3e_runtime.errors import BundleError, EngineMissingError
from m3e_runtime.token_embeddings import split_states
from m3e_runtime.token_outputs import SparseVector, TokenResult
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.under_way import under_way

try:
    from m3e_runtime import _native
except ImportError as error:
    _import_error: ImportError | None = error
else:
    _import_error = None

__all__ = ["NativeCpu", "c_interface_folder", "left_out", "missing", "same_bytes_on"]

_SAME_BYTES = (
    ("amx", "avx512bf16", "avx512vnni", "avxvnni", "avx512", "avx2"),
    ("sse41", "portable"),
)
"""Instruction sets with the same bytes, with and without fused multiply-add: sums of integers are exact, and
those of floats have one order."""

_REINSTALL = (
    "`pip install --force-reinstall --no-deps --no-cache-dir m3e-runtime` (or the folder or archive in place "
    "of its name)"
)


def missing() -> str | None:
    """The reason why the native engine cannot be used and how to get it, or None."""
    if _import_error is None:
        return None
    if library_file() is not None:
        return f"the native engine cannot be loaded ({_import_error}); build it here: {_REINSTALL}."
    if left_out():
        return f"the native engine was not built, as M3E_NATIVE=off asked: unset it, then {_REINSTALL}."
    return (
        "the native engine was not built, for no C++ compiler was found when m3e-runtime was installed: "
        f"install one (g++ 10 or clang 10, or later), then {_REINSTALL}."
    )


def left_out() -> bool:
    """Whether the engine is absent by intent, after ``M3E_NATIVE=off``."""
    # Imported here because it imports zipfile and email, which the encoder does not need.
    from importlib.metadata import PackageNotFoundError, distribution

    try:  # only the wheel of that build is for every platform
        tags = distribution("m3e-runtime").read_text("WHEEL") or ""
    except PackageNotFoundError:
        return False
    return "py3-none-any" in tags


def same_bytes_on(instruction_set: str | None) -> list[str]:
    """The instruction sets on which the native engine gives the bytes that it gives on this one."""
    alone = [] if instruction_set is None else [instruction_set]
    return next((list(names) for names in _SAME_BYTES if instruction_set in names), alone)


def c_interface_folder() -> Path:
    """Folder of the C interface: ``include/m3e.h``, the shared library and a CMake config in ``lib``.

    Raises:
        EngineMissingError: the engine was not built.
    """
    if (reason := missing()) or (file := library_file()) is None:
        raise EngineMissingError(reason or "")
    return file.parents[1]


_Inputs = tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64] | None
]


class NativeCpu:
    """The native engine. It computes no padding, and a text's vector does not depend on its batch."""

    name = "native"
    pads = False
    gives_tokens = True
    token_budget = 16384
    """Enough work for all threads. The engine bounds its memory itself."""
    _engine: Any  # a NativeEncoder, or Closed

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
        self.arithmetic: str | None = self._engine.arithmetic
        self.instruction_set: str | None = self._engine.instruction_set
        self._gives_outputs = bool(
            self._engine.has_token_weights or self._engine.token_vector_size or self._engine.has_term_weights
        )
        if dimension is not None and self._engine.dimension != dimension:
            raise BundleError(
                f"{model}: gives {self._engine.dimension} dimensions, the manifest says {dimension}. "
                "Export it again."
            )

    def close(self) -> None:
        """Free the engine and return its memory to the system. Calls in progress end as usual."""
        self._engine = Closed()
        return_free_memory()

    def __del__(self) -> None:
        self.close()

    def most_texts(self, longest: int) -> int | None:
        """See :class:`m3e_runtime.backends.base.Backend`."""
        del longest
        return None

    def run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Encode texts together; see :class:`m3e_runtime.backends.base.Backend`."""
        return self._run(token_ids, prompt_lengths, None, token_types)

    def run_tokens(
        self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None = None
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        """See :class:`m3e_runtime.backends.base.TokenBackend`."""
        states = np.empty((sum(map(len, token_ids)), self._engine.hidden_size), dtype=np.float32)
        return self._run(token_ids, prompt_lengths, states), split_states(states, token_ids)

    @property
    def gives_outputs(self) -> bool:
        """See :class:`m3e_runtime.backends.base.OutputsBackend`. It may be asked after :meth:`close`."""
        return self._gives_outputs

    def run_outputs(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        weights: bool = True,
        vectors: bool = True,
        attended_lengths: Sequence[int] | None = None,
    ) -> tuple[npt.NDArray[np.float32], list[TokenResult]]:
        """See :class:`m3e_runtime.backends.base.OutputsBackend`."""
        if weights and self._engine.has_term_weights:
            return self._run_terms(token_ids, prompt_lengths)
        tokens = sum(map(len, token_ids))
        token_weights = np.empty((tokens, 1), np.float32) if weights else None
        size = self._engine.token_vector_size
        token_vectors = np.empty((tokens, size), np.float32) if vectors else None
        offsets, flat, found, prompts = self._inputs(token_ids, prompt_lengths)
        attended = None if attended_lengths is None else np.array(attended_lengths, dtype=np.int64)
        stop = _native.Stop()
        with under_way(stop.set):
            self._engine.encode(
                flat,
                offsets,
                found,
                prompts,
                stop,
                token_weights=token_weights,
                token_vectors=token_vectors,
                attended_lengths=attended,
            )
        return found, list(
            map(
                TokenResult,
                [None] * len(token_ids) if token_weights is None else _split(token_weights[:, 0], offsets),
                [None] * len(token_ids) if token_vectors is None else _split(token_vectors, offsets),
            )
        )

    def _run_terms(
        self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None
    ) -> tuple[npt.NDArray[np.float32], list[TokenResult]]:
        """Weights of terms, of a few texts at a time: a row has the size of the vocabulary."""
        vectors: list[npt.NDArray[np.float32]] = []
        results: list[TokenResult] = []
        for begin in range(0, len(token_ids), TERM_TEXTS):
            some = slice(begin, begin + TERM_TEXTS)
            prompts_of_some = None if prompt_lengths is None else prompt_lengths[some]
            offsets, flat, found, prompts = self._inputs(token_ids[some], prompts_of_some)
            terms = np.empty((len(found), self._engine.vocabulary_size), np.float32)
            stop = _native.Stop()
            with under_way(stop.set):
                self._engine.encode(flat, offsets, found, prompts, stop, term_weights=terms)
            vectors.append(found)
            results += [TokenResult(None, None, SparseVector.of_dense(row)) for row in terms]
        return np.concatenate(vectors), results

    def _run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None,
        states: npt.NDArray[np.float32] | None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> npt.NDArray[np.float32]:
        offsets, flat, vectors, prompts = self._inputs(token_ids, prompt_lengths)
        stop = _native.Stop()
        with under_way(stop.set):  # signals end the call of the engine by themselves
            if token_types is None:
                self._engine.encode(flat, offsets, vectors, prompts, stop, states)
            else:
                self._engine.encode(flat, offsets, vectors, prompts, stop, states, _flat(token_types))
        return vectors

    def _inputs(self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None) -> _Inputs:
        offsets = np.array([0, *accumulate(map(len, token_ids))], dtype=np.int64)
        flat = _flat(token_ids)
        vectors = np.empty((len(token_ids), self._engine.dimension), dtype=np.float32)
        prompts = None if prompt_lengths is None else np.array(prompt_lengths, dtype=np.int64)
        return offsets, flat, vectors, prompts


def _split(rows: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float32]]:
    """The rows of each text. They are copies, so that keeping one does not keep the memory of the batch."""
    return [rows[begin:end].copy() for begin, end in pairwise(offsets.tolist())]


def _flat(arrays: Sequence[TokenIds]) -> TokenIds:
    """The numbers of all texts, end to end."""
    return np.ascontiguousarray(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
