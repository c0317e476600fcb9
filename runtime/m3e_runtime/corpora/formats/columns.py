"""Columns that have to be there, once."""

from __future__ import annotations

from collections.abc import Sequence

from m3e_runtime.corpora.inputs import InputFile
from m3e_runtime.corpora.reading import Reading
from m3e_runtime.errors import UnreadableInputError

__all__ = ["check_columns"]


def check_columns(names: Sequence[str], file: InputFile, reading: Reading) -> None:
    """Make sure that a file with columns of these names has all that are wanted.

    Raises:
        UnreadableInputError: one is missing, or there are two of its name.
    """
    for wanted in reading.wanted:
        if names.count(wanted) != 1:
            which = "two columns" if wanted in names else "no column"
            known = ", ".join(map(repr, names))
            raise UnreadableInputError(
                f"{file.name}: {which} {wanted!r} (the columns are: {known}); "
                "name that of the texts with --field."
            )
