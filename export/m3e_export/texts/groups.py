"""Queries with passages: built-in ones, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from m3e_export.checkpoint.jsonfile import refuse_pointer
from m3e_export.errors import CheckpointError

__all__ = ["Group", "built_in_groups", "has_groups", "pairs_of", "read_groups"]

_FEWEST = 20
_SHAPE = 'a JSON object with "query", a string, and "passages", a list of strings'


@dataclass(frozen=True)
class Group:
    """A query and passages to rank for it. The built-in passages begin with the most relevant."""

    query: str
    passages: tuple[str, ...]


def built_in_groups(name: str) -> tuple[Group, ...]:
    """The built-in groups ``gate`` (42 queries, 375 pairs) or ``calibration`` (18 queries, 126 pairs)."""
    file = resources.files(__package__).joinpath(f"{name}_groups.jsonl")
    return _parsed(file.read_text(encoding="utf-8"), name)


def has_groups(file: Path) -> bool:
    """Whether the first line of ``file`` has a query, so that :func:`read_groups` is meant for it."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            first = next((line for line in lines if line.strip()), "")
        return "query" in json.loads(first)
    except (OSError, ValueError, TypeError):  # the function that reads it says what is wrong
        return False


def read_groups(file: Path) -> tuple[Group, ...]:
    """The groups of a file in JSON Lines: ``{"query": "…", "passages": ["…", "…"]}``.

    Raises:
        CheckpointError: the file is unreadable, or has fewer than twenty pairs.
    """
    refuse_pointer(file)
    try:
        content = file.read_text(encoding="utf-8-sig")  # editors on Windows write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read as UTF-8 text ({error}).") from error
    groups = _parsed(content, str(file))
    pairs = sum(len(group.passages) for group in groups)
    if pairs < _FEWEST:
        raise CheckpointError(
            f"{file}: {pairs} pairs of a query and a passage; at least {_FEWEST} are needed."
        )
    return groups


def pairs_of(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The query and the passage of every pair, in the order of the groups."""
    queries = tuple(group.query for group in groups for _ in group.passages)
    return queries, tuple(passage for group in groups for passage in group.passages)


def _parsed(content: str, name: str) -> tuple[Group, ...]:
    lines = enumerate(content.split("\n"), start=1)  # JSON may contain other separators
    return tuple(_group(line, f"{name}:{number}") for number, line in lines if line.strip())


def _group(line: str, place: str) -> Group:
    try:
        found = json.loads(line)
        query, passages = found["query"], found["passages"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{place}: not {_SHAPE}.") from error
    if not isinstance(query, str) or not isinstance(passages, list) or not passages:
        raise CheckpointError(f"{place}: not {_SHAPE}.")
    if not all(isinstance(passage, str) for passage in passages):
        raise CheckpointError(f'{place}: "passages" has something other than strings.')
    return Group(query, tuple(passages))
