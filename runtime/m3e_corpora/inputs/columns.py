"""The columns that are read from the inputs, and those that are kept."""

from __future__ import annotations

from typing import Literal

import msgspec

from m3e_corpora.inputs.encodings import UTF_8
from m3e_corpora.inputs.folder_columns import FolderType

__all__ = ["DEFAULT_FIELD", "Columns", "PayloadForm"]

DEFAULT_FIELD = "text"

PayloadForm = Literal["none", "records", "columns"]
"""What is stored beside a vector: nothing (npy), an object (JSON Lines), or typed columns (Parquet)."""


class Columns(msgspec.Struct, frozen=True):
    """Which columns are read, how, and in which form they are stored.

    Attributes:
        field: the column of the texts.
        prompt_field: the column of each text's own prompt, or of the query that it is scored with.
        pairs: whether ``prompt_field`` has queries.
        keep: columns to store. None keeps whole JSON objects if the form is ``records``, else nothing.
        drop_text: do not store the texts.
        form: form of the payload.
        encoding: encoding of text, CSV and JSON Lines files.
        folder_types: types of the kept columns that folders name, as in ``lang=zh/``. A file's own column of
            the same name takes precedence.
        reserved: fields that the output adds. Objects that are kept whole must not have them.
    """

    field: str = DEFAULT_FIELD
    prompt_field: str | None = None
    pairs: bool = False
    keep: tuple[str, ...] | None = None
    drop_text: bool = False
    form: PayloadForm = "none"
    encoding: str = UTF_8
    folder_types: dict[str, FolderType] = {}
    reserved: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that must hold texts."""
        return (self.field,) if self.prompt_field is None else (self.field, self.prompt_field)

    def remedy(self, name: str) -> str:
        """What to do about a column of those to read that cannot be read."""
        if name == self.field:
            return "name the column of the texts with --field."
        if name == self.prompt_field:
            what, option = ("queries", "--query-field") if self.pairs else ("prompts", "--prompt-field")
            return f"name the column of the {what} with {option}."
        return "name the columns to store with --keep."

    @property
    def read(self) -> tuple[str, ...]:
        """All columns to read, each once."""
        return tuple(dict.fromkeys((*self.texts, *self.kept)))

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns to store, without the column of the texts."""
        names = dict.fromkeys(self.keep or ())
        return () if self.form == "none" else tuple(name for name in names if name != self.field)
