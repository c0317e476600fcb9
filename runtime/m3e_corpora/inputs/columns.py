"""What is taken from the input and stored beside the vectors."""

from __future__ import annotations

from typing import Literal

import msgspec

from m3e_corpora.inputs.encodings import UTF_8
from m3e_corpora.inputs.folder_columns import FolderType

__all__ = ["DEFAULT_FIELD", "Form", "Reading"]

DEFAULT_FIELD = "text"

Form = Literal["nothing", "records", "columns"]
"""Nothing beside a vector (npy), an object (JSON Lines), or typed columns (Parquet)."""


class Reading(msgspec.Struct, frozen=True):
    """The columns of the texts and their prompts, those to keep, and the form in which they are stored.

    ``keep`` of None is everything that a JSON object holds in a record, and nothing elsewhere. ``encoding``
    is that of text, CSV and JSON Lines. ``folder_types`` has those of ``columns`` that folders name; a file's
    own column of the same name goes before.
    """

    field: str = DEFAULT_FIELD
    prompt_field: str | None = None
    keep: tuple[str, ...] | None = None
    drop_text: bool = False
    form: Form = "nothing"
    encoding: str = UTF_8
    folder_types: dict[str, FolderType] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that have to hold texts."""
        return (self.field,) if self.prompt_field is None else (self.field, self.prompt_field)

    @property
    def wanted(self) -> tuple[str, ...]:
        """All columns to read, each once."""
        return tuple(dict.fromkeys((*self.texts, *self.columns)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to keep, without that of the texts."""
        names = dict.fromkeys(self.keep or ())
        return () if self.form == "nothing" else tuple(name for name in names if name != self.field)
