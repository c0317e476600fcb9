"""Queries and documents of late-interaction models such as ColBERT, which encode the two differently.

The definitions are those of sentence-transformers: ``Transformer.preprocess`` in
``sentence_transformers/base/modules/transformer.py`` (lengths, query expansion), and ``MultiVectorMask`` in
``sentence_transformers/multi_vector_encoder/modules/multi_vector_mask.py`` (tokens without a vector). The
paper is https://arxiv.org/abs/2004.12832.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Literal, get_args

import numpy as np

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import MultiVectorOutput, QueryExpansion, TaskSettings
from m3e_runtime.prompts import document_prompt_name, query_prompt_name
from m3e_runtime.tokenization import TokenIds

__all__ = [
    "TASKS",
    "Task",
    "attended_lengths",
    "check_task_name",
    "expanded",
    "prompt_name_of_task",
    "settings_of_task",
    "skipped_tokens",
]

Task = Literal["query", "document"]
TASKS: tuple[Task, ...] = get_args(Task)


def check_task_name(task: Task | None) -> None:
    """Check the argument ``task``.

    Raises:
        OptionError: it is unknown.
    """
    if task is not None and task not in TASKS:
        raise OptionError(f"task={task!r} is unknown; use one of {', '.join(TASKS)}, or None.")


def prompt_name_of_task(prompts: Container[str], task: Task | None) -> str | None:
    """The name of the prompt that ``encode_query`` or ``encode_document`` of sentence-transformers takes."""
    if task is None:
        return None
    return query_prompt_name(prompts) if task == "query" else document_prompt_name(prompts)


def settings_of_task(given: MultiVectorOutput | None, task: Task | None) -> TaskSettings | None:
    """How texts of ``task`` are encoded; None if all texts are encoded alike."""
    if given is None or task is None:
        return None
    return given.query if task == "query" else given.document


def skipped_tokens(given: MultiVectorOutput, task: Task | None) -> Sequence[int]:
    """The ids of tokens that get no vector in texts of ``task``. A text without a task is a document."""
    settings = settings_of_task(given, task or "document")
    return () if settings is None else settings.skipped


def expanded(token_ids: Sequence[TokenIds], expansion: QueryExpansion | None) -> list[TokenIds]:
    """Queries with the expansion's tokens behind them, int32 ``[length]`` each."""
    if expansion is None:
        return list(token_ids)
    return [_padded(ids, expansion) for ids in token_ids]


def _padded(ids: TokenIds, expansion: QueryExpansion) -> TokenIds:
    missing = max(expansion.length - len(ids), 0)
    return np.concatenate([ids, np.full(missing, expansion.token_id, np.int32)])


def attended_lengths(token_ids: Sequence[TokenIds], given: MultiVectorOutput | None) -> list[int] | None:
    """How many tokens of each text are attended: all but those of an expansion that is not. None: all.

    The tokenizer ends each text with another token than the expansion's, which :func:`m3e_export.export`
    checks. So the expansion of a text is its last tokens with that id.
    """
    expansion = None if given is None or given.query is None else given.query.expansion
    if expansion is None or expansion.attended:
        return None
    return [_before_expansion(ids, expansion.token_id) for ids in token_ids]


def _before_expansion(ids: TokenIds, token_id: int) -> int:
    others = np.flatnonzero(ids != token_id)
    return int(others[-1]) + 1 if len(others) else len(ids)
