"""The formats of input files, one module each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.formats.csv import CsvFormat
from m3e_corpora.inputs.formats.json_lines import JsonLinesFormat
from m3e_corpora.inputs.formats.parquet import ParquetFormat
from m3e_corpora.inputs.formats.text import TextFormat
from m3e_corpora.inputs.rows import PayloadBuilder, Rows
from m3e_corpora.inputs.slice import Slice

__all__ = ["Format", "format_of"]


class Format(Protocol):
    """How files of one format are sliced and read."""

    declares_types: bool
    """Whether a file declares the types of its columns. If not, they come from rows of the first file."""

    def fields(self, file: InputFile, columns: Columns) -> list[Any]:
        """Return the Arrow fields of the columns to keep.

        Raises:
            OptionError: their types cannot be determined.
            UnreadableInputError: a column is missing, or the file cannot be read.
        """

    def slices(self, index: int, file: InputFile, columns: Columns, slice_bytes: int) -> Iterator[Slice]:
        """Cut a file into slices that can be read independently; at least one.

        Args:
            index: position of the file among the inputs.
            file: the file.
            columns: the columns to read.
            slice_bytes: approximate bytes of text in a slice.

        Raises:
            OptionError: a column is named, but the format has none.
            UnreadableInputError: a column is missing, or the file cannot be read.
        """

    def read(
        self, file: InputFile, slice_: Slice, columns: Columns, builder: PayloadBuilder
    ) -> Iterator[Rows]:
        """Read the rows of a slice lazily.

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
    """Return the format of ``file``."""
    return _FORMATS[file.format]
