"""Windows: rows that are tokenized, sorted and computed together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from m3e_corpora.inputs.rows import BadRow, Rows
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.policies import OnError, OverLong
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import InvalidTextError
from m3e_runtime.tokenization import TokenIds

__all__ = ["Task", "Window", "windows_of"]

WINDOW_ROWS = 8192
WINDOW_TOKENS = 1 << 19
PACKED_WINDOW_TOKENS = 1 << 17  # nothing to gain from sorting more: less memory, and a sign of life sooner
WINDOW_BYTES = 16 << 20
"""A window has at most so many rows, and about so many tokens and bytes: long texts take no more memory."""

PACKED_TASK_TOKENS = 4096
"""Tokens of a task for an engine that needs no padding: so few that threads end almost together."""

_SKIP_BAD = "With --on-error skip such rows are left out and reported."
_SKIP_LONG = "With --over-long skip such rows are left out and reported, with --over-long truncate cut."


class Task(NamedTuple):
    """Texts for one run of the engine: their places among the window's distinct texts, and their tokens.

    ``prompt_lengths`` is as :meth:`m3e_runtime.Encoder.run` takes it.
    """

    indices: npt.NDArray[np.int64]
    token_ids: list[TokenIds]
    prompt_lengths: list[int] | None


@dataclass(frozen=True)
class Window:
    """Rows of one partition, ready to be computed. ``last`` is the partition's last window."""

    partition: int
    rows: list[Rows]
    places: npt.NDArray[np.int64]
    """Which of the distinct texts each row has, int64 ``[rows]``."""
    distinct: int
    tasks: list[Task]
    counts: Counts
    last: bool

    @property
    def bad(self) -> list[BadRow]:
        """The rows that are left out."""
        return [row for rows in self.rows for row in rows.bad]

    @property
    def size(self) -> int:
        """Bytes of the input that it took."""
        return sum(rows.size for rows in self.rows)


def windows_of(
    encoder: Encoder,
    partition: int,
    rows: Iterable[Rows],
    prefix: str,
    over_long: OverLong,
    on_error: OnError,
) -> Iterator[Window]:
    """Tokenize the rows of a partition; at least one window, and exactly one is the last.

    Args:
        encoder: gives the tokenizer, and says what suits its engine.
        partition: its number.
        rows: the partition's rows.
        prefix: the prompt that is put before each text.
        over_long: what to do with texts that the model has to cut.
        on_error: what to do with rows that cannot be encoded.

    Raises:
        InvalidTextError: a row that cannot be encoded, or is too long, is fatal.
    """
    window = _OpenWindow(encoder, prefix, over_long)
    for each in rows:
        if each.bad and on_error == "fail":
            raise InvalidTextError(f"{each.bad[0]} {_SKIP_BAD}")
        if window.is_full(len(each.texts)):
            yield window.close(partition, last=False)
            window = _OpenWindow(encoder, prefix, over_long)
        window.add(each)
    yield window.close(partition, last=True)


@dataclass
class _OpenWindow:
    encoder: Encoder
    prefix: str
    over_long: OverLong
    rows: list[Rows] = field(default_factory=list)
    token_ids: list[TokenIds] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    tokens: int = 0
    size: int = 0
    _known: dict[tuple[str, str], int] = field(default_factory=dict)
    _places: list[int] = field(default_factory=list)
    _prompt_lengths: list[int] | None = None

    def is_full(self, more: int) -> bool:
        rows = len(self._places)
        return (rows > 0 and rows + more > WINDOW_ROWS) or (
            self.tokens >= (WINDOW_TOKENS if self.encoder.pads else PACKED_WINDOW_TOKENS)
            or self.size >= WINDOW_BYTES
        )

    def add(self, rows: Rows) -> None:
        prompts = itertools.repeat(self.prefix) if rows.prompts is None else rows.prompts
        texts = list(zip(prompts, rows.texts, strict=False))
        self._tokenize([text for text in dict.fromkeys(texts) if text not in self._known])
        places = [self._known[text] for text in texts]
        if self.over_long != "truncate":
            cut = [index for index, place in enumerate(places) if self.cut[place]]
            if cut:
                rows = self._leave_out(rows, cut)
                places = [place for place in places if not self.cut[place]]
        self.rows.append(rows)
        self.size += rows.size
        self._places += places

    def _leave_out(self, rows: Rows, cut: list[int]) -> Rows:
        problem = f"longer than {self.encoder.max_seq_length} tokens."
        if self.over_long == "fail":
            raise InvalidTextError(f"{rows.locate(rows.numbers[cut[0]], problem)} {_SKIP_LONG}")
        return rows.without(cut, problem)

    def close(self, partition: int, last: bool) -> Window:
        places = np.array(self._places, dtype=np.int64)
        self._prompt_lengths = self.encoder.prompt_lengths([prompt for prompt, _ in self._known])
        tasks, computed = self._plan(np.unique(places))
        counts = Counts(
            texts=len(places),
            duplicates=len(places) - sum(len(task.indices) for task in tasks),
            truncated=sum(self.cut[place] for place in self._places),
            skipped=sum(len(rows.bad) for rows in self.rows),
            tokens=sum(len(ids) for task in tasks for ids in task.token_ids),
            computed_tokens=computed,
        )
        return Window(partition, self.rows, places, len(self.token_ids), tasks, counts, last)

    def _tokenize(self, fresh: list[tuple[str, str]]) -> None:
        token_ids, cut = self.encoder.tokenizer.encode_batch_marked([prompt + text for prompt, text in fresh])
        self._known.update(zip(fresh, itertools.count(len(self.token_ids)), strict=False))
        self.token_ids += token_ids
        self.cut += cut
        self.tokens += sum(map(len, token_ids))

    def _plan(self, wanted: npt.NDArray[np.int64]) -> tuple[list[Task], int]:
        """Tasks for the distinct texts that rows have, longest first, and how many tokens they compute."""
        lengths = np.array([len(self.token_ids[index]) for index in wanted], dtype=np.int64)
        batches = list(
            self.encoder.plan(lengths, token_budget=None if self.encoder.pads else PACKED_TASK_TOKENS)
        )
        tasks = [self._task(wanted[batch.indices]) for batch in batches]
        return tasks, sum(batch.tokens for batch in batches)

    def _task(self, indices: npt.NDArray[np.int64]) -> Task:
        return Task(
            indices,
            [self.token_ids[index] for index in indices],
            self._prompt_lengths and [self._prompt_lengths[index] for index in indices],
        )
