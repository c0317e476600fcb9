"""Rows become windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from m3e_corpora.encoding.open_late_window import OpenLateWindow
from m3e_corpora.encoding.open_window import OpenWindow
from m3e_corpora.encoding.tokens import Model
from m3e_corpora.encoding.window import Window
from m3e_corpora.inputs.rows import Rows
from m3e_corpora.job.policies import OnError, OverLong
from m3e_runtime.errors import InvalidTextError
from m3e_runtime.late_interaction import Task

__all__ = ["windows_of"]

_SKIP_BAD = "Use --on-error skip to leave out such rows and list them."


def windows_of(
    encoder: Model,
    partition: int,
    rows: Iterable[Rows],
    prefix: str,
    over_long: OverLong,
    on_error: OnError,
    most_tokens: int | None = None,
    late: bool = False,
    task: Task | None = None,
) -> Iterator[Window]:
    """Tokenize the rows of a partition.

    Args:
        encoder: has the tokenizer and plans the batches.
        partition: number of the partition.
        rows: rows of the partition.
        prefix: prompt before each text that has none of its own.
        over_long: what to do with texts that are too long.
        on_error: what to do with rows that cannot be encoded.
        most_tokens: about how many tokens a window may have, by default as many as suit the engine.
        late: whether the rows are chunks of late chunking.
        task: what the texts are, for models that encode queries and documents differently.

    Yields:
        Windows, at least one. Only the last one is marked as such.

    Raises:
        InvalidTextError: a row cannot be encoded or is too long, and the policy is ``fail``.
    """
    kind = OpenLateWindow if late else OpenWindow
    window = kind(encoder, prefix, over_long, most_tokens, task)
    for each in rows:
        if each.bad and on_error == "fail":
            raise InvalidTextError(f"{each.bad[0]} {_SKIP_BAD}")
        if window.is_full(len(each.texts)):
            yield window.close(partition, last=False)
            window = kind(encoder, prefix, over_long, most_tokens, task)
        window.add(each)
    yield window.close(partition, last=True)
