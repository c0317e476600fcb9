"""The commands of a day, in their order: what to copy with each, and what it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.offline.errors import PackError
from benchmarks.offline.index import INDEX, Index
from benchmarks.offline.join import find_packs

__all__ = ["LONGEST", "Command", "commands"]

LONGEST = 2000
"""Characters of a command."""

_FIRST = "surroundings join install begin-prepare"
_AFTER = (
    "tests quick verdict",
    "profile full verdict",
    "compiled verdict",
    "full verdict --shape m3e-small",
    "ncu",
)


@dataclass(frozen=True)
class Command:
    """Paths to copy beside the checkout, and a line for bash, run in the checkout's root."""

    copies: tuple[Path, ...]
    line: str


def commands(packs: Path, output: str = '"$OUT"') -> list[Command]:
    """One command a part, so that the last has all; then the measurements.

    Raises:
        PackError: a command is longer than :data:`LONGEST`.
        PackIndexError: there is no pack.
    """
    copies = [
        (folder / INDEX, folder / part.name)
        for folder in find_packs(packs)
        for part in Index.read(folder).parts
    ]
    found = [
        Command(paths, _line(steps, packs, output))
        for steps, paths in zip(_joins(len(copies)), copies, strict=True)
    ]
    found += [Command((), _line(steps, packs, output)) for steps in _AFTER]
    for command in found:
        if len(command.line) > LONGEST:
            raise PackError(
                f"a command has {len(command.line)} characters, more than {LONGEST}: {command.line}"
            )
    return found


def _joins(parts: int) -> Iterator[str]:
    """The first looks around and builds; the last loads the provider, since all is there then."""
    for number in range(parts):
        steps = [_FIRST if number == 0 else "join", *(["first"] if number == parts - 1 else [])]
        yield " ".join(steps)


def _line(steps: str, packs: Path, output: str) -> str:
    return f"python3 -m benchmarks.offline.day {steps} --packs {packs} --output {output}"
