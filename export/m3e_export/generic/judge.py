"""The gate for graphs from elsewhere: texts alone, and in batches, where padding must not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3e_export.errors import CheckpointError
from m3e_export.gate import Gate, Verdict, judge
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.manifest import Precision
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["ITSELF", "GraphRun", "judge_run"]

ITSELF = "the given graph"
"""The oracle's name if there are no weights beside the graph: the graph's vectors of single texts."""

_TOGETHER = 4  # texts in a batch
_IN_BATCHES = "in batches, where padding shows"

Vectors = npt.NDArray[np.float32]


class GraphRun:
    """A graph's vectors of texts, float32 ``[n, dimension]``: of each alone, and of batches."""

    def __init__(self, file: Path, token_ids: Sequence[TokenIds], label: str) -> None:
        """Run all texts in both ways.

        Raises:
            CheckpointError: the graph fails; the message names the batch.
        """
        self._engine = OnnxRuntimeCpu(file, available_threads())
        self._file = file
        with progress_bar(2 * len(token_ids), "text", label) as bar:
            singles = [[at] for at in range(len(token_ids))]
            self.alone = self._vectors(token_ids, singles, bar.update)
            self.together = self._vectors(token_ids, _batches(token_ids), bar.update)

    def _vectors(
        self, token_ids: Sequence[TokenIds], batches: list[list[int]], tick: Callable[[int], object]
    ) -> Vectors:
        rows: dict[int, Vectors] = {}
        for batch in batches:
            rows.update(zip(batch, self._run([token_ids[at] for at in batch]), strict=True))
            tick(len(batch))
        return np.stack([rows[at] for at in range(len(token_ids))])

    def _run(self, token_ids: list[TokenIds]) -> Vectors:
        try:
            return self._engine.run(token_ids)
        except Exception as error:  # the library's exceptions have no common base
            raise CheckpointError(
                f"{self._file.name}: fails on {len(token_ids)} texts of {max(map(len, token_ids))} tokens: "
                f"{error}"
            ) from error


def _batches(token_ids: Sequence[TokenIds]) -> list[list[int]]:
    """Batches of short and long texts, so that each has padding."""
    order = sorted(range(len(token_ids)), key=lambda at: len(token_ids[at]))
    count = -(-len(order) // _TOGETHER)
    return [order[start::count] for start in range(count)]


def judge_run(gate: Gate, run: GraphRun, precision: Precision) -> Verdict:
    """The worse of two verdicts: on the texts alone, and on the texts in batches."""
    alone, together = (judge(gate, vectors, precision) for vectors in (run.alone, run.together))
    if alone.comparison is None:
        return alone
    in_batches = tuple(f"{problem} {_IN_BATCHES}" for problem in together.problems)
    if together.comparison is None:
        return Verdict(None, in_batches)
    worse = min(alone.comparison, together.comparison, key=lambda each: each.closeness)
    return Verdict(worse, alone.problems or in_batches)
