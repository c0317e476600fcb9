"""ONNX Runtime on a CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.backends.base import TERM_TEXTS
from m3e_runtime.backends.token_heads import HEADS_FILE, NumpyTokenHeads
from m3e_runtime.backends.unloading import Closed, return_free_memory
from m3e_runtime.errors import BundleError, EngineMissingError
from m3e_runtime.token_outputs import SparseVector, TokenResult
from m3e_runtime.tokenization import TokenIds
from m3e_runtime.under_way import interruptible, under_way

if TYPE_CHECKING:
    from m3e_runtime.gpu.batch_shapes import Layout

__all__ = ["OnnxRuntimeCpu", "missing"]

_NOT_INSTALLED = (
    "ONNX Runtime is not installed: `pip install 'm3e-runtime[cpu]'` (or [gpu], never both: they overwrite "
    "each other)."
)

SPIN_MICROSECONDS = "200"
"""How long an idle worker thread spins before it sleeps.

The operators of one encoding follow each other within microseconds, so the latency is that of endless
spinning, and an idle encoder leaves the cores to the rest of the service.
"""


INTERRUPTIBLE_TOKENS = 256
"""Longer runs in the main thread use another thread, so that signal handlers run meanwhile."""

_SENTENCE = "sentence_embedding"
_STATES = "last_hidden_state"
_TERMS = "term_weights"
_TYPES = "token_type_ids"
"""An input of graphs that take a type for each token."""
_PROMPT = "prompt_length"
"""An input with a default, int64 ``[texts]``, of graphs whose pooling excludes prompts."""


def missing() -> str | None:
    """The reason why ONNX Runtime cannot be used, or None. It is not imported, which is slow."""
    installed = sys.modules.get("onnxruntime") or find_spec("onnxruntime")
    return None if installed else _NOT_INSTALLED


class OnnxRuntimeCpu:
    """An inference session of ONNX Runtime, which several threads can use.

    In a child of ``fork()`` it computes in the calling thread only.
    """

    name = "onnxruntime-cpu"
    arithmetic: str | None = None
    instruction_set: str | None = None
    pads = True
    token_budget = 2048
    """It bounds the memory of a run; larger batches are not faster."""
    _session: Any  # an InferenceSession, or Closed

    def __init__(
        self,
        model: Path,
        threads: int,
        dimension: int | None = None,
        layout: Layout | None = None,
        include_prompt: bool = True,
        token_types: bool = False,
    ) -> None:
        """Open ``model``. Its texts are padded unless ``layout`` says otherwise.

        ``include_prompt`` is false for models whose pooling excludes prompts. ``token_types`` is true for
        models that take a type for each token; a layout says so itself.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineMissingError(missing() or f"ONNX Runtime cannot be imported: {error}.") from error
        self.version: str = onnxruntime.__version__
        self.threads = threads
        self._run_options = onnxruntime.RunOptions
        self._layout = layout
        self._takes_types = token_types
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # This level folds constants. Higher ones fuse additions into SkipLayerNormalization, which is slower.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Patterns are recorded for every input shape, without bound.
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
        try:
            self._session = onnxruntime.InferenceSession(
                _readable(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's exceptions have no common base
            reason = str(error).splitlines()[0]
            raise BundleError(f"{model}: ONNX Runtime {self.version} cannot load it: {reason}") from error
        self._check_interface(model, dimension)
        if not include_prompt and _PROMPT not in {
            value.name for value in self._session.get_overridable_initializers()
        }:
            raise BundleError(
                f"{model}: takes no {_PROMPT}, the manifest says include_prompt=false. Export it again."
            )

    def _check_interface(self, model: Path, dimension: int | None) -> None:
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        wanted = set(self._layout.types) if self._layout else self._padded_inputs
        if inputs != wanted or _SENTENCE not in outputs:
            raise BundleError(
                f"{model}: takes {sorted(inputs)} and gives {sorted(outputs)}; a bundle's model takes "
                f"{' and '.join(sorted(wanted, reverse=True))} and gives sentence_embedding. Export it again."
            )
        self.gives_tokens = _STATES in outputs
        self._gives_terms = _TERMS in outputs
        heads = model.with_name(HEADS_FILE)
        self._heads = NumpyTokenHeads(heads) if self.gives_tokens and heads.is_file() else None
        shape = outputs[_SENTENCE]
        if dimension is not None and (len(shape) != 2 or shape[1] != dimension):
            raise BundleError(
                f"{model}: gives vectors of shape {shape}, the manifest says {dimension} dimensions. "
                "Export it again."
            )

    @property
    def _padded_inputs(self) -> set[str]:
        return {"input_ids", "attention_mask", *([_TYPES] if self._takes_types else [])}

    def close(self) -> None:
        """Free the session and return its memory to the system. Calls in progress end as usual."""
        self._session = Closed()
        return_free_memory()

    def __del__(self) -> None:
        self.close()

    def most_texts(self, longest: int) -> int | None:
        """See :class:`m3e_runtime.backends.base.Backend`."""
        del longest
        return TERM_TEXTS if self._gives_terms else None

    def run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Encode texts together; see :class:`m3e_runtime.backends.base.Backend`."""
        return self._run(token_ids, prompt_lengths, [_SENTENCE], token_types)[0]

    def run_tokens(
        self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None = None
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        """See :class:`m3e_runtime.backends.base.TokenBackend`."""
        return self._run_states(token_ids, prompt_lengths)

    @property
    def gives_outputs(self) -> bool:
        """See :class:`m3e_runtime.backends.base.OutputsBackend`."""
        return self._heads is not None or self._gives_terms

    def run_outputs(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        weights: bool = True,
        vectors: bool = True,
        attended_lengths: Sequence[int] | None = None,
    ) -> tuple[npt.NDArray[np.float32], list[TokenResult]]:
        """See :class:`m3e_runtime.backends.base.OutputsBackend`."""
        if self._gives_terms:
            found, terms = self._run(token_ids, prompt_lengths, [_SENTENCE, _TERMS])
            return found, [TokenResult(None, None, SparseVector.of_dense(row)) for row in terms]
        assert self._heads is not None  # noqa: S101 - gives_outputs says so
        found, states = self._run_states(token_ids, prompt_lengths, attended_lengths)
        return found, [self._heads(each, weights, vectors) for each in states]

    def _run_states(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None,
        attended_lengths: Sequence[int] | None = None,
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
        vectors, states = self._run(
            token_ids, prompt_lengths, [_SENTENCE, _STATES], attended_lengths=attended_lengths
        )
        return vectors, [row[: len(ids)].copy() for row, ids in zip(states, token_ids, strict=True)]

    def _run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None,
        wanted: list[str],
        token_types: Sequence[TokenIds] | None = None,
        attended_lengths: Sequence[int] | None = None,
    ) -> list[npt.NDArray[np.float32]]:
        feed = self._feed(token_ids, token_types)
        if attended_lengths is not None:
            feed["attention_mask"] = _mask(feed["input_ids"].shape[1], attended_lengths)
        if prompt_lengths is not None:
            feed[_PROMPT] = np.array(prompt_lengths, dtype=np.int64)
        options = self._run_options()
        options.log_severity_level = 4  # a stopped run is not an error

        def compute() -> list[npt.NDArray[np.float32]]:
            with under_way(stop):
                found: list[npt.NDArray[np.float32]] = self._session.run(wanted, feed, options)
                return found

        def stop() -> None:
            options.terminate = True

        many = sum(map(len, token_ids)) > INTERRUPTIBLE_TOKENS
        return interruptible(compute, stop) if many else compute()

    def _feed(
        self, token_ids: Sequence[TokenIds], token_types: Sequence[TokenIds] | None
    ) -> dict[str, npt.NDArray[Any]]:
        if self._layout is not None:
            return _fill(self._layout, token_ids, token_types)
        feed: dict[str, npt.NDArray[Any]] = _pad(token_ids)
        if self._takes_types:
            feed[_TYPES] = _padded(token_types) if token_types else np.zeros_like(feed["input_ids"])
        return feed


def _readable(model: Path) -> str | bytes:
    """The argument for ONNX Runtime: the path, or the content if the path is not UTF-8."""
    try:
        os.fspath(model).encode("utf-8")
    except UnicodeEncodeError:
        return model.read_bytes()
    return os.fspath(model)


def _fill(
    layout: Layout, token_ids: Sequence[TokenIds], token_types: Sequence[TokenIds] | None
) -> dict[str, npt.NDArray[Any]]:
    """The inputs in ``layout``, without filler texts."""
    size = layout.size([len(ids) for ids in token_ids], exact=True)
    feed = {name: np.empty(shape, layout.types[name]) for name, shape in layout.shapes(size).items()}
    layout.fill(token_ids, size, feed, token_types)
    return feed


def _pad(token_ids: Sequence[TokenIds]) -> dict[str, npt.NDArray[Any]]:
    """The inputs of padded texts. The mask hides the padding id, whatever it is."""
    padded = _padded(token_ids)
    if len(token_ids) == 1:
        return {"input_ids": padded, "attention_mask": np.ones_like(padded)}
    return {"input_ids": padded, "attention_mask": _mask(padded.shape[1], list(map(len, token_ids)))}


def _mask(width: int, lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """1 for the first tokens of each text, int64 ``[texts, width]``."""
    mask = np.arange(width) < np.array(lengths)[:, None]
    return mask.astype(np.int64)


def _padded(arrays: Sequence[TokenIds]) -> npt.NDArray[np.int64]:
    """The numbers of each text, padded with 0 on the right to int64 ``[texts, length]``."""
    if len(arrays) == 1:
        return arrays[0].astype(np.int64)[None, :]
    padded: npt.NDArray[np.int64] = np.zeros((len(arrays), max(map(len, arrays))), dtype=np.int64)
    for row, numbers in enumerate(arrays):
        padded[row, : len(numbers)] = numbers
    return padded
