"""Containers of texts: anything that yields strings in a defined order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from m3e_runtime.errors import InvalidTextError

__all__ = ["as_iterator", "as_list"]

_ADVICE = "pass a string or a list of strings"


def as_list(sentences: Iterable[str], what: str = "text") -> list[str]:
    """Return the strings of a container as a list; ``what`` names them in errors.

    Raises:
        InvalidTextError: an element is not a string, or the container has no defined order.
    """
    texts = list(as_iterator(sentences))
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            pair = ", and instructions as prompt=[…]" if isinstance(text, (list, tuple)) else ""
            raise InvalidTextError(f"{what} {index} is {type(text).__name__}, not str; {_ADVICE}{pair}.")
    return texts


def as_iterator(sentences: Any) -> Iterator[Any]:
    """Iterate over a container of texts. A single string is not a container.

    Accepts lists, tuples, generators, columns of pandas and polars, arrays of numpy and Arrow.

    Raises:
        InvalidTextError: the container yields something else, such as the names of its columns.
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
    """The Python value of an Arrow scalar."""
    return text if isinstance(text, str) or not hasattr(text, "as_py") else text.as_py()
