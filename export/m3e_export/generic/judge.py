"""The gate for graphs of others: a text alone, and a text in a batch, where padding must not show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export import gate as gate_module
from m3e_export.errors import BelowGateError, CheckpointError
from m3e_export.gate import Comparison, Gate
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["ITSELF", "GraphRun", "judge"]

ITSELF = "the given graph"
"""The oracle's name where no weights lie beside the graph: its own vectors, of one text at a time."""

_TOGETHER = 4  # texts of unequal length in a batch

Vectors = npt.NDArray[np.float32]


class GraphRun:
    """What a graph, just written, gives for texts: float32 ``[n, dimension]``, alone and in batches."""

    def __init__(self, file: Path, token_ids: Sequence[TokenIds], label: str) -> None:
        """Run all texts both ways.

        Raises:
            CheckpointError: it fails on a batch, named in the message.
        """
        self._engine = OnnxRuntimeCpu(file, available_threads())
        self._file = file
        with progress_bar(2 * len(token_ids), "text", label) as bar:
            singles = [[at] for at in range(len(token_ids))]
            self.alone = self._vectors(token_ids, singles, bar)
            self.together = self._vectors(token_ids, _batches(token_ids), bar)

    def _vectors(self, token_ids: Sequence[TokenIds], batches: list[list[int]], bar: Any) -> Vectors:
        rows: dict[int, Vectors] = {}
        for batch in batches:
            rows.update(zip(batch, self._run([token_ids[at] for at in batch]), strict=True))
            bar.update(len(batch))
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
    """Short texts with long ones, so that every batch has padding."""
    order = sorted(range(len(token_ids)), key=lambda at: len(token_ids[at]))
    count = -(-len(order) // _TOGETHER)
    return [order[start::count] for start in range(count)]


def judge(gate: Gate, run: GraphRun, precision: str) -> tuple[Comparison, list[str]]:
    """The worse of what is measured alone and in batches, and in words what is below its threshold.

    Raises:
        BelowGateError: the vectors are not finite, which no gate lets through.
    """
    for vectors, how in ((run.alone, "alone"), (run.together, "in batches, where padding shows")):
        if not np.isfinite(vectors).all():
            raise BelowGateError(
                f"{precision} is below the gate: of texts {how} its vectors are not finite numbers, as where "
                "half precision overflows. Nothing was written. Try fp32."
            )
    compared = [gate_module.compare(gate, vectors, precision) for vectors in (run.alone, run.together)]
    alone, together = (gate_module.failures(each.fidelity) for each in compared)
    problems = alone or [f"{problem} in batches, where padding shows" for problem in together]
    return min(compared, key=lambda each: each.fidelity.min_cosine), problems
