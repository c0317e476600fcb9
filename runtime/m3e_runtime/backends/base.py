"""What the encoder needs from an engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import EngineRunError
from m3e_runtime.tokenization import TokenIds

__all__ = ["Backend", "OverlappingBackend", "Pending", "TokenBackend", "run_all"]

Vectors = npt.NDArray[np.float32]
Key = TypeVar("Key")


class Backend(Protocol):
    """An engine with one artifact loaded. ``run`` may be called from several threads at once."""

    name: str
    version: str
    threads: int
    instruction_set: str | None
    """The instruction set in use, where the engine tells."""
    pads: bool
    """Whether texts of unequal length are padded to the longest, so that like lengths should run together."""

    @property
    def token_budget(self) -> int:
        """Tokens that are worth computing in one run, padding included. Bounds the memory of a run."""
        ...

    def most_texts(self, longest: int) -> int | None:
        """Most texts that a run can have whose longest has that many tokens; None: any number."""
        ...

    def run(self, token_ids: Sequence[TokenIds], prompt_lengths: Sequence[int] | None = None) -> Vectors:
        """Encode texts together.

        Args:
            token_ids: int32 ``[length]`` for each text, special tokens included.
            prompt_lengths: first tokens of each text that the pooling leaves out; None: nothing of any. Only
                where the manifest says ``include_prompt=false``, which no engine for a GPU can do.

        Returns:
            Sentence vectors, float32 ``[len(token_ids), dimension]``.

        Raises:
            ClosedError: it was closed.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory. Runs that are under way end as usual; no other can begin."""
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


class Pending(Protocol):
    """A run that was started."""

    def result(self) -> Vectors:
        """Wait for the vectors. To be called once, whether they are wanted or not."""
        ...


@runtime_checkable
class OverlappingBackend(Protocol):
    """A backend that starts a run while others are under way."""

    def submit(self, token_ids: Sequence[TokenIds], wait: bool = True) -> Pending | None:
        """Start a run; None where there is no room and ``wait`` is false."""
        ...


def run_all(
    backend: Backend, batches: Iterable[tuple[Key, Sequence[TokenIds]]]
) -> Iterator[tuple[Key, Vectors]]:
    """Run batches in order, several at once where the backend can; yields each one's key and vectors."""
    if not isinstance(backend, OverlappingBackend):
        for key, token_ids in batches:
            yield key, backend.run(token_ids)
        return
    started: deque[tuple[Key, Pending]] = deque()
    try:
        for key, token_ids in batches:
            # Who waits with runs under way might wait for someone who waits for them.
            while (pending := backend.submit(token_ids, wait=not started)) is None:
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
