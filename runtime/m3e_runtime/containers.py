"""What may hold texts: anything that gives strings in an order of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from m3e_runtime.errors import InvalidTextError

__all__ = ["as_iterator", "as_list"]

_ADVICE = "pass a string or a list of strings"


def as_list(sentences: Iterable[str], what: str = "text") -> list[str]:
    """The texts, or ``what`` else they are, as a list.

    Raises:
        InvalidTextError: something else than strings, or a container without an order of its own.
    """
    texts = list(as_iterator(sentences))
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            pair = ", and instructions as prompt=[…]" if isinstance(text, (list, tuple)) else ""
            raise InvalidTextError(f"{what} {index} is {type(text).__name__}, not str; {_ADVICE}{pair}.")
    return texts


def as_iterator(sentences: Any) -> Iterator[Any]:
    """What a container of texts gives, one after the other; a string alone is no container here.

    Lists, tuples, generators, columns of pandas and polars, arrays of numpy and Arrow.

    Raises:
        InvalidTextError: a container that gives something else, such as the names of its columns.
    """
    if isinstance(sentences, str):
        raise InvalidTextError("one string given, which would be read letter by letter; pass a list: [text].")
    if isinstance(sentences, (list, tuple)):
        return iter(sentences)
    kind = type(sentences).__name__
    if isinstance(sentences, Mapping):
        raise InvalidTextError(f"{kind} given, not strings; pass its values: list(texts.values()).")
    if isinstance(sentences, (set, frozenset)):
        raise InvalidTextError(
            f"{kind} given, which has no order to give vectors in; pass a list of strings."
        )
    if hasattr(sentences, "columns") or hasattr(sentences, "column_names"):
        raise InvalidTextError(f"{kind} given, not strings; pass one of its columns, such as data['text'].")
    if isinstance(sentences, (bytes, bytearray, os.PathLike)) or getattr(sentences, "ndim", 1) != 1:
        raise InvalidTextError(f"{kind} given, not strings in a row; {_ADVICE}.")
    try:
        return map(_plain, iter(sentences))
    except TypeError as error:
        raise InvalidTextError(f"{kind} given; {_ADVICE}.") from error


def _plain(text: Any) -> Any:
    """An Arrow scalar's own value."""
    return text if isinstance(text, str) or not hasattr(text, "as_py") else text.as_py()
