"""What is taken from the input and stored beside the vectors."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["DEFAULT_FIELD", "Form", "Reading"]

DEFAULT_FIELD = "text"

Form = Literal["nothing", "records", "columns"]
"""Nothing beside a vector (npy), an object (JSON Lines), or typed columns (Parquet)."""


class Reading(msgspec.Struct, frozen=True):
    """The column of the texts, the columns to keep, and the form in which they are stored.

    ``keep`` of None is everything that a JSON object holds in a record, and nothing elsewhere.
    """

    field: str = DEFAULT_FIELD
    keep: tuple[str, ...] | None = None
    drop_text: bool = False
    form: Form = "nothing"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to keep, without that of the texts."""
        return () if self.form == "nothing" else tuple(name for name in self.keep or () if name != self.field)
