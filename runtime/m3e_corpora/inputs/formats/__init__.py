"""The formats of a corpus, one module each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.formats.csv import CsvFormat
from m3e_corpora.inputs.formats.json_lines import JsonLinesFormat
from m3e_corpora.inputs.formats.parquet import ParquetFormat
from m3e_corpora.inputs.formats.text import TextFormat
from m3e_corpora.inputs.rows import Beside, Rows
from m3e_corpora.inputs.slice import Slice

__all__ = ["Format", "format_of"]


class Format(Protocol):
    """How files of one format are cut and read."""

    declares_types: bool
    """Whether a file says what its columns hold; where not, the rows of the first file do."""

    def fields(self, file: InputFile, reading: Reading) -> list[Any]:
        """Arrow fields of the columns to keep, for typed columns.

        Raises:
            OptionError: they cannot be told.
            UnreadableInputError: a column is missing, or the file cannot be read.
        """

    def slices(self, index: int, file: InputFile, reading: Reading, target: int) -> Iterator[Slice]:
        """Pieces of about ``target`` bytes of text that can be read each by itself; at least one.

        Raises:
            OptionError: a column is asked for, and the format has none.
            UnreadableInputError: a column is missing, or the file cannot be read.
        """

    def read(self, file: InputFile, piece: Slice, reading: Reading, beside: Beside) -> Iterator[Rows]:
        """The rows of a piece, as they are asked for.

        Raises:
            UnreadableInputError: a column is missing, or the file cannot be read or has changed.
        """


_FORMATS: dict[str, Format] = {
    "text": TextFormat(),
    "jsonl": JsonLinesFormat(),
    "csv": CsvFormat(","),
    "tsv": CsvFormat("\t"),
    "parquet": ParquetFormat(),
}


def format_of(file: InputFile) -> Format:
    """The format of ``file``."""
    return _FORMATS[file.format]
