"""Tables of docs/support.md that a test run fills: each cell is what a test has measured.

A run compares its measurements with the cells and fails where one is missing or no longer true;
``python -m pytest tests/export --write-matrices`` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["Matrix"]

PAGE = Path(__file__).parents[1] / "docs" / "support.md"

Cells = dict[str, dict[str, str]]


class Matrix:
    """One table, between ``<!-- matrix: name -->`` and ``<!-- /matrix -->``."""

    def __init__(self, name: str, writing: bool) -> None:
        self._section = re.compile(rf"(<!-- matrix: {name} -->\n)(.*?)(<!-- /matrix -->)", re.DOTALL)
        self._corner, self._cells = self._read()
        self._writing = writing

    def check(self, row: str, column: str, measured: str, agrees: Callable[[str], bool]) -> None:
        """Fail unless the cell is there and ``agrees`` with what was measured; when writing, write it."""
        if self._writing:
            self._cells.setdefault(row, {})[column] = measured
            return
        written = self._cells.get(row, {}).get(column)
        hint = f"{PAGE.name}, {row} / {column}: {written}, measured {measured}; see tests/matrix.py"
        assert written is not None, hint
        assert agrees(written), hint

    def save(self) -> None:
        """Put the cells into the page."""
        columns = list(dict.fromkeys(column for cells in self._cells.values() for column in cells))
        lines = [[self._corner, *columns], ["---"] * (len(columns) + 1)]
        lines += [[row, *(cells.get(column, "") for column in columns)] for row, cells in self._cells.items()]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        content = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(self._section.sub(rf"\g<1>{table}\g<3>", content), encoding="utf-8")

    def _read(self) -> tuple[str, Cells]:
        found = self._section.search(PAGE.read_text(encoding="utf-8"))
        assert found is not None, f"{PAGE.name} has no section {self._section.pattern}"
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[2].splitlines()]
        (corner, *columns), _, *body = rows
        return corner, {row: dict(zip(columns, cells, strict=True)) for row, *cells in body}
