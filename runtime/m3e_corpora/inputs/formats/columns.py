"""A check that a file has the columns to read."""

from __future__ import annotations

from collections.abc import Sequence

from m3e_corpora.errors import UnreadableInputError
from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.folder_columns import folder_values

__all__ = ["check_columns"]


def check_columns(
    names: Sequence[str], file: InputFile, columns: Columns, nested: Sequence[str] = ()
) -> None:
    """Check that a file, or the folders it lies in, have every column to read exactly once.

    Args:
        names: names of the columns in the file.
        file: the file.
        columns: the columns to read.
        nested: names of nested fields, such as ``doc.body``.

    Raises:
        UnreadableInputError: a column is missing, or its name occurs twice.
    """
    folders = folder_values(file, columns.folder_types)
    for wanted in columns.read:
        if wanted not in names and (wanted in nested or (wanted in folders and wanted not in columns.texts)):
            continue
        if names.count(wanted) != 1:
            which = "two columns" if wanted in names else "no column"
            known = ", ".join(map(repr, dict.fromkeys((*names, *nested, *folders))))
            raise UnreadableInputError(
                f"{file.name}: {which} {wanted!r} (the columns are: {known}); {columns.remedy(wanted)}"
            )
