"""The differences between two jobs, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from m3e_corpora.job.job import Job
from m3e_runtime.file_names import shown

__all__ = ["differences"]


def differences(begun: Job, asked: Job) -> list[str]:
    """Describe each difference between the job that was begun and the one that is asked for."""
    return list(_fields(msgspec.to_builtins(begun), msgspec.to_builtins(asked)))


def _fields(begun: Mapping[str, Any], asked: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name in dict.fromkeys((*begun, *asked)):
        before, now = begun.get(name), asked.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _fields(before, now, f"{above}{name}.")
        elif name == "inputs":
            yield from _inputs(begun[name], asked[name])
        elif before != now:
            yield f"{above}{name} was {before!r} and is {now!r}"


def _inputs(begun: list[dict[str, Any]], asked: list[dict[str, Any]]) -> Iterator[str]:
    if len(begun) != len(asked):
        yield f"there were {len(begun)} input files and are {len(asked)}"
    for before, now in zip(begun, asked, strict=False):
        if before != now:
            what = "has changed" if before["path"] == now["path"] else f"is {now['path']} now"
            yield shown(f"the input {before['path']} {what}")
