"""Late chunking: a model reads many chunks at once, and a chunk's vector is the mean of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from m3e_runtime.chunking.chunker import Chunk
from m3e_runtime.chunking.windows import Window, WindowReader
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Manifest
from m3e_runtime.outputs import normalize
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["LateChunks", "TokenRun"]

Vectors = npt.NDArray[np.float32]

TokenRun = Callable[[Sequence[TokenIds]], Iterator[tuple[list[int], Vectors, list[Vectors]]]]
"""Runs texts in batches: the places of a batch's texts, their vectors, and the states of their tokens."""

_WINDOWS = 64
"""Windows that are run together."""

_TOLERANCE = 1e-3


class LateChunks:
    """Encodes chunks by late chunking.

    Args:
        tokenizer: the model's tokenizer.
        manifest: says how the model pools.
        run: computes windows.

    Raises:
        OptionError: the model's vectors are not the mean of its tokens' states, normalized or not.
    """

    def __init__(self, tokenizer: TextTokenizer, manifest: Manifest, run: TokenRun) -> None:
        self._reader = WindowReader(tokenizer, manifest.include_prompt)
        self._dimension = manifest.dimension
        self._normalize = manifest.normalize
        self._run = run
        self._check(tokenizer, manifest)

    def vectors(self, texts: Sequence[str], prompts: Sequence[str], chunks: Sequence[list[Chunk]]) -> Vectors:
        """The vectors of the chunks of all texts, float32 ``[chunks, dimension]``."""
        each = zip(texts, prompts, chunks, strict=True)
        windows = chain.from_iterable(self._reader.windows(*of_text) for of_text in each)
        made = list(chain.from_iterable(self._of_windows(some) for some in _groups(windows)))
        return np.concatenate([np.empty((0, self._dimension), np.float32), *made])

    def _of_windows(self, windows: list[Window]) -> list[Vectors]:
        """The vectors of the chunks of each window."""
        found: dict[int, Vectors] = {}
        for places, _, states in self._run([window.token_ids for window in windows]):
            for place, of_window in zip(places, states, strict=True):
                found[place] = self._pooled(of_window, windows[place].tokens)
        return [found[place] for place in range(len(windows))]

    def _pooled(self, states: Vectors, tokens: Sequence[tuple[int, int]]) -> Vectors:
        means = np.stack([states[begin:end].mean(axis=0) for begin, end in tokens])
        return normalize(means) if self._normalize else means

    def _check(self, tokenizer: TextTokenizer, manifest: Manifest) -> None:
        """Compare the pooling here with the model's on a text: layers behind the pooling change vectors."""
        if manifest.pooling != "mean":
            raise OptionError(
                f"late chunking needs mean pooling, and this model pools by {manifest.pooling}; leave it out."
            )
        ids = tokenizer.encode("late chunking")
        _, vectors, states = next(self._run([ids]))
        pooled = self._pooled(states[0], [(0, len(ids))])
        if pooled.shape != vectors.shape or not np.allclose(
            pooled, vectors, atol=_TOLERANCE * float(np.abs(vectors).max())
        ):
            raise OptionError(
                "late chunking needs a model without layers behind the pooling, and this one has some; leave "
                "it out."
            )


def _groups(windows: Iterator[Window]) -> Iterator[list[Window]]:
    held: list[Window] = []
    for window in windows:
        held.append(window)
        if len(held) == _WINDOWS:
            yield held
            held = []
    if held:
        yield held
