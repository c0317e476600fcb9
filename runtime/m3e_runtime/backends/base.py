"""The interface of an engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import EngineRunError
from m3e_runtime.token_outputs import TokenResult
from m3e_runtime.tokenization import TokenIds

__all__ = [
    "TERM_TEXTS",
    "Backend",
    "Inputs",
    "OutputsBackend",
    "OverlappingBackend",
    "Pending",
    "TokenBackend",
    "run_all",
]

Vectors = npt.NDArray[np.float32]
Key = TypeVar("Key")


TERM_TEXTS = 32
"""Texts whose weights of terms are in memory together: 4 MB for 30,000 terms, 32 MB for 250,000."""


class Backend(Protocol):
    """An engine with one artifact loaded. ``run`` may be called from several threads at once."""

    name: str
    version: str
    threads: int
    arithmetic: str | None
    """The arithmetic of the products, if the engine reports it."""
    instruction_set: str | None
    """The instruction set in use, if the engine reports it."""
    pads: bool
    """Whether texts of a batch are padded to the longest one. If so, similar lengths should run together."""

    @property
    def token_budget(self) -> int:
        """Most tokens of a batch, including padding. It bounds the memory of a run."""
        ...

    def most_texts(self, longest: int) -> int | None:
        """Most texts of a batch whose longest text has that many tokens; None: no limit."""
        ...

    def run(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Vectors:
        """Encode texts together.

        Args:
            token_ids: int32 ``[length]`` for each text, special tokens included.
            prompt_lengths: number of tokens at the start of each text that the pooling excludes; None: none.
                For manifests with ``include_prompt=false``, which engines for GPUs do not support.
            token_types: type of each token, int32 ``[length]`` for each text; None: all are 0. For manifests
                with a ``classification`` whose ``token_types`` is true.

        Returns:
            Sentence vectors, or logits, float32 ``[len(token_ids), dimension]``.

        Raises:
            ClosedError: the engine is closed.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory. Runs in progress end as usual; new ones fail."""
        ...


@runtime_checkable
class TokenBackend(Protocol):
    """A backend that can give the hidden states of tokens too."""

    @property
    def gives_tokens(self) -> bool:
        """Whether the artifact that it has loaded gives them."""
        ...

    def run_tokens(
        self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """:meth:`Backend.run`, and the states that are pooled, float32 ``[length, hidden]`` for each text."""
        ...


@runtime_checkable
class OutputsBackend(Protocol):
    """A backend that can give a weight and a vector of each token too."""

    @property
    def gives_outputs(self) -> bool:
        """Whether the artifact that it has loaded gives any of them."""
        ...

    def run_outputs(
        self,
        token_ids: Sequence[TokenIds],
        prompt_lengths: Sequence[int] | None = None,
        weights: bool = True,
        vectors: bool = True,
        attended_lengths: Sequence[int] | None = None,
    ) -> tuple[Vectors, list[TokenResult]]:
        """:meth:`Backend.run`, and the outputs of tokens for each text.

        Args:
            token_ids: as in :meth:`Backend.run`.
            prompt_lengths: as in :meth:`Backend.run`.
            weights: compute weights of tokens.
            vectors: compute vectors of tokens.
            attended_lengths: number of tokens at the start of each text that its tokens attend to; None: all.
        """
        ...


class Pending(Protocol):
    """A run in progress."""

    def result(self) -> Vectors:
        """Wait for the vectors. Call it exactly once, even if they are not used."""
        ...


@runtime_checkable
class OverlappingBackend(Protocol):
    """A backend with several runs in progress at a time."""

    def submit(
        self,
        token_ids: Sequence[TokenIds],
        wait: bool = True,
        token_types: Sequence[TokenIds] | None = None,
    ) -> Pending | None:
        """Start a run; None if all slots are busy and ``wait`` is false."""
        ...


class Inputs(NamedTuple):
    """The texts of a batch: the arguments of :meth:`Backend.run`."""

    token_ids: Sequence[TokenIds]
    prompt_lengths: Sequence[int] | None = None
    token_types: Sequence[TokenIds] | None = None


def run_all(backend: Backend, batches: Iterable[tuple[Key, Inputs]]) -> Iterator[tuple[Key, Vectors]]:
    """Run batches in order, several at a time if the backend can. Yields the key and vectors of each."""
    if not isinstance(backend, OverlappingBackend):
        for key, inputs in batches:
            yield key, backend.run(*inputs)
        return
    started: deque[tuple[Key, Pending]] = deque()
    try:
        for key, inputs in batches:
            # Waiting here with own runs in progress could deadlock with another caller that does the same.
            while (pending := _submit(backend, inputs, wait=not started)) is None:
                done, earlier = started.popleft()
                yield done, earlier.result()
            started.append((key, pending))
        while started:
            done, earlier = started.popleft()
            yield done, earlier.result()
    finally:
        for _, abandoned in started:
            with suppress(EngineRunError):
                abandoned.result()


def _submit(backend: OverlappingBackend, inputs: Inputs, wait: bool) -> Pending | None:
    return backend.submit(inputs.token_ids, wait, inputs.token_types)
