"""Options for the rows of a data set or a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3e_runtime.errors import OptionError

__all__ = ["check_one_vector"]


def check_one_vector(options: Mapping[str, Any]) -> None:
    """Check that options of :meth:`m3e_runtime.Encoder.encode` give a text one vector, as a row has.

    Raises:
        OptionError: they give several.
    """
    if options.get("truncation") == "chunk":
        raise OptionError(
            "truncation='chunk' gives a text several vectors, and a row has one; encode the corpus with "
            "encode_corpus(CorpusRequest(…, over_long='chunk')), which writes a row for each chunk."
        )
