"""What calibration keeps of the inputs of one matrix."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["InputSample", "ProductSums", "rows_of_texts"]

_ROWS = 384
"""Rows kept for each matrix: enough to rank the matrices, and small compared with the model."""

_PER_TEXT = 8
_TILE = 384

Array = npt.NDArray[np.float32]


class _Stored:
    """Arrays in a temporary file, which goes with this object. All samples are as large as the model."""

    def __init__(self, arrays: Sequence[Array], folder: Path) -> None:
        self._shapes = [array.shape for array in arrays]
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this object
        for array in arrays:
            self._file.write(np.ascontiguousarray(array).data)

    def __iter__(self) -> Iterator[Array]:
        self._file.seek(0)
        for shape in self._shapes:
            yield np.frombuffer(self._file.read(4 * math.prod(shape)), np.float32).reshape(shape)


class ProductSums:
    """The sum of ``xᵀ x``, kept in tiles on and above the diagonal, which several threads can add to."""

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        bounds = [slice(begin, min(begin + _TILE, inputs)) for begin in range(0, inputs, _TILE)]
        self._places = list(combinations_with_replacement(bounds, 2))
        self._sums = [np.zeros((a.stop - a.start, b.stop - b.start), np.float32) for a, b in self._places]
        self._stored: Iterable[Array] = ()

    @property
    def tiles(self) -> range:
        """The numbers of the tiles."""
        return range(len(self._places))

    def add(self, tile: int, blocks: Iterable[Array]) -> None:
        """Add the products of the rows of ``blocks``, each ``[rows, inputs]``, to one tile."""
        rows, columns = self._places[tile]
        for x in blocks:
            self._sums[tile] += x[:, rows].T @ x[:, columns]

    def store(self, folder: Path) -> None:
        """Move the sum to a temporary file in ``folder``, after the last :meth:`add`."""
        self._stored, self._sums = _Stored(self._sums, folder), []

    def matrix(self) -> Array:
        """The sum, float32 ``[inputs, inputs]``."""
        whole = np.empty((self._inputs, self._inputs), np.float32)
        for (rows, columns), total in zip(self._places, self._sums or self._stored, strict=True):
            whole[columns, rows] = total.T
            whole[rows, columns] = total
        return whole


def rows_of_texts(texts: int) -> list[int]:
    """The number of rows to keep of each text, so that a sample has its size and all parts of the texts."""
    ends = [text * _ROWS // texts for text in range(texts + 1)]
    return [min(_PER_TEXT, end - begin) for begin, end in pairwise(ends)]


class InputSample:
    """The inputs of one matrix: a sample of rows, and over all rows the maxima, means and covariances."""

    def __init__(self, inputs: int) -> None:
        self.largest: Array = np.zeros(inputs, dtype=np.float32)
        self.products = ProductSums(inputs)
        self._rows: list[Array] = []
        self._count = 0
        self._sum = np.zeros(inputs, dtype=np.float64)
        self._stored: Iterable[Array] = ()
        self._random = np.random.default_rng(0)  # the same texts give the same bundle

    def add(self, x: Array) -> None:
        """Add the rows of ``x``, ``[length, inputs]``."""
        self.add_text(x)
        for tile in self.products.tiles:
            self.products.add(tile, [x])

    def add_text(self, x: Array, rows: int = _PER_TEXT) -> None:
        """Add the rows of ``x`` to everything but :attr:`products`, and ``rows`` of them to the sample."""
        np.maximum(self.largest, np.abs(x).max(axis=0), out=self.largest)
        self._count += len(x)
        self._sum += x.sum(axis=0)
        self._rows.append(x[self._random.choice(len(x), size=min(rows, len(x)), replace=False)])

    def store(self, folder: Path) -> None:
        """Move what is large to temporary files in ``folder``, after the last text."""
        self._stored, self._rows = _Stored([self.rows()], folder), []
        self.products.store(folder)

    def rows(self) -> Array:
        """A sample of rows, float32 ``[rows, inputs]``.

        It is spread over the texts, and over layers that share the matrix. A constant step
        could hit the same layer in every text.
        """
        rows = np.concatenate(self._rows or list(self._stored))
        chosen: Array = rows[np.linspace(0, len(rows) - 1, min(_ROWS, len(rows))).astype(int)]
        return chosen

    def mean(self) -> Array:
        """Mean of each channel, float32 ``[inputs]``."""
        mean: Array = (self._sum / self._count).astype(np.float32)
        return mean

    def covariance(self) -> Array:
        """Covariances of the channels, float32 ``[inputs, inputs]``."""
        mean, covariance = self.mean(), self.products.matrix()
        covariance /= np.float32(self._count)
        for row, factor in zip(covariance, mean, strict=True):  # their outer product is as large
            row -= factor * mean
        return covariance
