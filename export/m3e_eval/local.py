"""Reading local files as tasks. The columns of JSON Lines, CSV or TSV decide the kind of task."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3e_eval.errors import DataError
from m3e_runtime import git_lfs

__all__ = ["SUFFIXES", "Judgements", "Labelled", "LocalData", "Pairs", "answerable", "read_local"]

SUFFIXES = (".jsonl", ".csv", ".tsv")
_ALIASES = {
    "sentence": "text",
    "sentence1": "text1",
    "sentence2": "text2",
    "document": "passage",
    "rel": "relevance",
}
_KINDS = (
    ("text1", "text2", "score"),
    ("text1", "text2", "label"),
    ("query", "passage", "relevance"),
    ("text", "label", "split"),
)
_KNOWN_COLUMNS = (
    "text1, text2, score: similarity; text1, text2, label (0 or 1): pairs; query, passage, relevance: "
    "retrieval; text, label, split: classification"
)
_TRAIN = "train"
_EVAL_SPLITS = ("test", "validation", "dev")
_MIN_PAIRS = 3


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts with a similarity each, or with 0 or 1."""

    first: list[str]
    second: list[str]
    values: list[float]
    graded: bool


@dataclass(frozen=True)
class Judgements:
    """Passages and queries by id, and for each query the relevance of the judged passages."""

    passages: dict[str, str] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """Texts and the numbers of their classes, for training and for evaluation."""

    train: tuple[list[str], list[int]]
    judged: tuple[list[str], list[int]]
    split: str


LocalData = Pairs | Judgements | Labelled


@dataclass(frozen=True)
class _Row:
    file: Path
    number: int
    values: Mapping[str, object]

    def error(self, problem: str) -> DataError:
        return DataError(f"{self.file}, line {self.number}: {problem}")

    def text(self, column: str) -> str:
        value = self._get(column)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{column} is {value!r}; a text is needed.")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.error(f"{column} holds a lone surrogate, not valid Unicode.") from None
        return value

    def number_of(self, column: str) -> float:
        value = self._get(column)
        try:
            number = float(value) if isinstance(value, (str, int, float)) else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{column} is {value!r}; a number is needed.")
        return number

    def label(self, column: str) -> str:
        value = self._get(column)
        if not isinstance(value, (str, int)) or value == "":
            raise self.error(f"{column} is {value!r}; a name or a whole number is needed.")
        return str(value)

    def _get(self, column: str) -> object:
        return self.values.get(column)


def read_local(file: Path, split: str | None = None) -> LocalData:
    """Read ``file``. Its columns decide the kind of data.

    Args:
        file: a UTF-8 file with one of :data:`SUFFIXES`. CSV and TSV begin with a line of column names.
        split: the split of labelled texts to evaluate on; by default test, validation or dev.

    Raises:
        DataError: the file is unreadable, or its columns or values are not valid.
    """
    rows = list(_rows(file))
    if not rows:
        raise DataError(f"{file}: there are no rows.")
    kind = _kind(file, rows[0].values)
    if kind == ("text", "label", "split"):
        return _labelled(file, rows, split)
    if kind == ("query", "passage", "relevance"):
        return _judgements(file, rows)
    return _pairs(file, rows, graded=kind[-1] == "score")


def _kind(file: Path, columns: Iterable[str]) -> tuple[str, ...]:
    fitting = [kind for kind in _KINDS if set(kind) <= set(columns)]
    if len(fitting) == 1:
        return fitting[0]
    problem = "fit more than one kind of data" if fitting else "fit no kind of data"
    raise DataError(f"{file}: its columns ({', '.join(columns)}) {problem}. {_KNOWN_COLUMNS}.")


def _pairs(file: Path, rows: list[_Row], graded: bool) -> Pairs:
    values = [_similarity(row) if graded else _zero_or_one(row) for row in rows]
    if len(rows) < _MIN_PAIRS or len(set(values)) == 1:
        raise DataError(
            f"{file}: {len(rows)} pairs, the first {'score' if graded else 'label'} is {values[0]:g}; at "
            f"least {_MIN_PAIRS} pairs with different values are needed."
        )
    first, second = ([row.text(name) for row in rows] for name in ("text1", "text2"))
    return Pairs(first, second, values, graded)


def _similarity(row: _Row) -> float:
    return row.number_of("score")


def _zero_or_one(row: _Row) -> float:
    label = row.number_of("label")
    if label not in (0, 1):
        raise row.error(f"label is {label:g}; it must be 0 or 1 (use a column score for similarities).")
    return label


def _judgements(file: Path, rows: list[_Row]) -> Judgements:
    """The data of a retrieval task. Equal passages become one, because no model can separate them."""
    found = Judgements()
    passages: dict[str, str] = {}
    queries: dict[str, str] = {}
    for row in rows:
        relevance = row.number_of("relevance")
        if relevance < 0 or relevance != int(relevance):
            raise row.error(f"relevance is {relevance:g}; an integer of at least 0 is needed.")
        pid = passages.setdefault(row.text("passage"), f"p{len(passages)}")
        qid = queries.setdefault(row.text("query"), f"q{len(queries)}")
        found.relevant.setdefault(qid, {})[pid] = int(relevance)
    found.passages.update((pid, text) for text, pid in passages.items())
    found.queries.update((qid, text) for text, qid in queries.items())
    return answerable(found, str(file))


def answerable(data: Judgements, name: str) -> Judgements:
    """``data`` without the queries that have no relevant passage.

    Raises:
        DataError: no query is left.
    """
    kept = {qid: judged for qid, judged in data.relevant.items() if any(judged.values())}
    queries = {qid: text for qid, text in data.queries.items() if qid in kept}
    if not queries:
        raise DataError(f"{name}: no query has a passage with a relevance above 0.")
    return Judgements(data.passages, queries, {qid: kept[qid] for qid in queries})


def _labelled(file: Path, rows: list[_Row], wanted: str | None) -> Labelled:
    splits: dict[str, list[_Row]] = {}
    for row in rows:
        splits.setdefault(row.label("split"), []).append(row)
    split = wanted or next((name for name in _EVAL_SPLITS if name in splits), None)
    if split is None or split not in splits or _TRAIN not in splits:
        raise DataError(
            f"{file}: its splits are {', '.join(splits)}; {_TRAIN} and {wanted or ' or '.join(_EVAL_SPLITS)} "
            "are needed."
        )
    names = sorted({row.label("label") for row in splits[_TRAIN]})
    if len(names) == 1:
        raise DataError(f"{file}: there is only one label in {_TRAIN} ({names[0]}); at least two are needed.")
    numbers = {name: number for number, name in enumerate(names)}
    for row in splits[split]:
        if row.label("label") not in numbers:
            raise row.error(
                f"label {row.label('label')!r} is not one of the {len(names)} labels in {_TRAIN}."
            )
    train, judged = (
        ([row.text("text") for row in part], [numbers[row.label("label")] for row in part])
        for part in (splits[_TRAIN], splits[split])
    )
    return Labelled(train, judged, split)


def _rows(file: Path) -> Iterator[_Row]:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{file}: ends in {suffix or 'nothing'}; supported are {', '.join(SUFFIXES)}.")
    if git_lfs.is_pointer(file):
        raise DataError(f"{file}: {git_lfs.HINT}.")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            if suffix == ".jsonl":
                yield from _json_rows(file, stream)
            else:
                yield from _table_rows(file, stream, "," if suffix == ".csv" else "\t")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}); convert it with iconv.") from error
    except csv.Error as error:
        raise DataError(f"{file}: not a valid table ({error}).") from error


def _json_rows(file: Path, lines: Iterable[str]) -> Iterator[_Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}, line {number}: not valid JSON ({error}).") from error
        if not isinstance(values, dict):
            raise DataError(f"{file}, line {number}: not a JSON object.")
        yield _Row(file, number, {_ALIASES.get(name, str(name)): value for name, value in values.items()})


def _table_rows(file: Path, lines: Iterable[str], delimiter: str) -> Iterator[_Row]:
    # A quotation mark has no special meaning in TSV.
    quoting: Any = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    table = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    names = [_ALIASES.get(name.strip(), name.strip()) for name in next(table, [])]
    for cells in table:
        if not cells:
            continue
        if len(cells) != len(names):
            raise DataError(
                f"{file}, line {table.line_num}: {len(cells)} fields, but the first line has {len(names)}."
            )
        yield _Row(file, table.line_num, dict(zip(names, cells, strict=True)))
