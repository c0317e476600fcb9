"""Sparse vectors and multi-vectors, which are stored beside the dense vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import TokenOutputs
from m3e_runtime.token_outputs import SparseVector, TokenResult, finish_tokens
from m3e_runtime.tokenization import TokenIds

__all__ = ["NO_OTHERS", "OTHERS", "OtherOutput", "Others", "arrow_type"]

OtherOutput = Literal["sparse", "multi_vector"]
OTHERS: tuple[OtherOutput, ...] = get_args(OtherOutput)
"""The names of the outputs, which are those of their columns, too."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Others:
    """The outputs of some texts, a value for each. Those that are not stored are None.

    ``multi_vector`` are float32 ``[tokens, size]``.
    """

    sparse: Sequence[SparseVector] | None = None
    multi_vector: Sequence[Array] | None = None

    @staticmethod
    def of(
        token_ids: Sequence[TokenIds],
        found: Sequence[TokenResult],
        given: TokenOutputs,
        names: Sequence[OtherOutput],
        task: Task | None = None,
    ) -> Others:
        """Finish what the engine gives for the tokens of texts. Texts that were left out have nothing."""
        both = [finish_tokens(ids, each, given, task) for ids, each in zip(token_ids, found, strict=True)]
        size = 0 if given.multi_vector is None else given.multi_vector.dimension
        no_weights = SparseVector(np.empty(0, np.int32), np.empty(0, np.float32))
        no_vectors = np.empty((0, size), np.float32)
        return Others(
            [no_weights if each is None else each for each, _ in both] if "sparse" in names else None,
            [no_vectors if each is None else each for _, each in both] if "multi_vector" in names else None,
        )

    def columns(self) -> Iterator[tuple[OtherOutput, Sequence[Any]]]:
        """The names and values of those that are stored."""
        if self.sparse is not None:
            yield "sparse", self.sparse
        if self.multi_vector is not None:
            yield "multi_vector", self.multi_vector

    def take(self, places: npt.NDArray[np.int64]) -> Others:
        """The outputs at ``places``."""
        some = {name: [values[at] for at in places] for name, values in self.columns()}
        return Others(some.get("sparse"), some.get("multi_vector"))

    def part(self, start: int, stop: int) -> Others:
        """The outputs from ``start`` to ``stop``."""
        some = {name: values[start:stop] for name, values in self.columns()}
        return Others(some.get("sparse"), some.get("multi_vector"))

    def records(self, count: int) -> Iterator[dict[str, Any]]:
        """What JSON stores for each of ``count`` rows: weights by token id, and lists of vectors."""
        for row in range(count):
            record: dict[str, Any] = {}
            if self.sparse is not None:
                record["sparse"] = {str(key): value for key, value in self.sparse[row].as_dict().items()}
            if self.multi_vector is not None:
                record["multi_vector"] = self.multi_vector[row].tolist()
            yield record

    def arrow_columns(self, arrow: Any) -> list[Any]:
        """The columns for Parquet, of the types that :func:`arrow_type` gives."""
        columns = []
        if self.sparse is not None:
            offsets = _offsets(each.indices for each in self.sparse)
            ids = np.concatenate([each.indices for each in self.sparse] or [np.empty(0, np.int32)])
            values = np.concatenate([each.values for each in self.sparse] or [np.empty(0, np.float32)])
            columns.append(arrow.MapArray.from_arrays(offsets, arrow.array(ids), arrow.array(values)))
        if self.multi_vector is not None:
            rows = np.concatenate(list(self.multi_vector))
            inner = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
            vectors = arrow.ListArray.from_arrays(inner, arrow.array(rows.reshape(-1)))
            columns.append(arrow.ListArray.from_arrays(_offsets(self.multi_vector), vectors))
        return columns


NO_OTHERS = Others()
"""For jobs that store dense vectors only."""


def arrow_type(arrow: Any, name: OtherOutput) -> Any:
    """The type of a column in Parquet: a map of weights by token id, or a list of vectors."""
    if name == "sparse":
        return arrow.map_(arrow.int32(), arrow.float32())
    return arrow.list_(arrow.list_(arrow.float32()))


def _offsets(rows: Any) -> npt.NDArray[np.int32]:
    return np.cumsum([0, *map(len, rows)], dtype=np.int32)
