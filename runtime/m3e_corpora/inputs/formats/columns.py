"""Columns that have to be there, once."""

from __future__ import annotations

from collections.abc import Sequence

from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.folder_columns import folder_values
from m3e_runtime.errors import UnreadableInputError

__all__ = ["check_columns"]


def check_columns(
    names: Sequence[str], file: InputFile, reading: Reading, nested: Sequence[str] = ()
) -> None:
    """Make sure that a file with columns of these names has all that are wanted, or its folders have.

    Args:
        names: of the columns.
        file: the file.
        reading: tells what is wanted.
        nested: the names of fields inside of columns, e.g. ``doc.body``.

    Raises:
        UnreadableInputError: one is missing, or there are two of its name.
    """
    folders = folder_values(file, reading.folder_types)
    for wanted in reading.wanted:
        if wanted not in names and (wanted in nested or (wanted in folders and wanted not in reading.texts)):
            continue
        if names.count(wanted) != 1:
            which = "two columns" if wanted in names else "no column"
            known = ", ".join(map(repr, dict.fromkeys((*names, *nested, *folders))))
            raise UnreadableInputError(
                f"{file.name}: {which} {wanted!r} (the columns are: {known}); "
                "name that of the texts with --field."
            )
