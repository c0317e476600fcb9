"""The inputs of a request: texts or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from m3e_serve.errors import ApiError

__all__ = [
    "CHUNK_FIELDS",
    "Inputs",
    "RawInputs",
    "WithoutChunks",
    "check_count",
    "first_given",
    "read_inputs",
    "refuse_chunks",
]

CHUNK_FIELDS = ("truncation", "chunking")
"""Fields of ``/v1/embeddings`` that divide texts. Responses of other services have one vector for a text."""


class WithoutChunks(msgspec.Struct, kw_only=True):
    """A body without :data:`CHUNK_FIELDS`. They are refused: ignored, long texts would be cut."""

    truncation: Any = None
    chunking: Any = None


RawInputs = str | list[str | int | list[int]]
"""A text, a list of texts, the token ids of a text, or a list of token ids."""


@dataclass(frozen=True)
class Inputs:
    """Either ``texts`` or ``token_ids``. The other is empty."""

    texts: list[str]
    token_ids: Sequence[Sequence[int]]

    @property
    def count(self) -> int:
        """Number of inputs."""
        return len(self.texts) or len(self.token_ids)


def read_inputs(given: RawInputs, field: str, max_inputs: int) -> Inputs:
    """Distinguish texts from token ids. There is at least one input.

    Args:
        given: the value of ``field``.
        field: name of the field, for error messages.
        max_inputs: maximum number of inputs.

    Raises:
        ApiError: there is no input, there are too many, or texts and token ids are mixed.
    """
    if not isinstance(given, list):
        return Inputs([given], [])
    if not given:
        message = f"`{field}` is empty; send a text or a list of texts."
        raise ApiError(400, message, "invalid_value", field, "Empty")
    inputs = _texts_or_ids(given, field)
    check_count(inputs.count, field, max_inputs)
    return inputs


def check_count(count: int, field: str, most: int) -> None:
    """Check that ``field`` has inputs, and not too many.

    Raises:
        ApiError: it has none, or more than ``most``.
    """
    if not count:
        raise ApiError(400, f"`{field}` is empty; send a list of texts.", "invalid_value", field, "Empty")
    if count > most:
        message = f"`{field}` has {count} inputs; at most {most} are allowed."
        raise ApiError(400, message, "invalid_value", field, tei_status=413)


def refuse_chunks(request: WithoutChunks) -> None:
    """Check that a body has none of :data:`CHUNK_FIELDS`.

    Raises:
        ApiError: it has one.
    """
    for field in CHUNK_FIELDS:
        if getattr(request, field) is not None:
            message = f"`{field}` is a field of /v1/embeddings; here `truncate` cuts or rejects long texts."
            raise ApiError(400, message, "invalid_value", field, tei_status=422)


def first_given(*values: bool | None) -> bool:
    """The first value that is not None."""
    return next(bool(value) for value in values if value is not None)


def _texts_or_ids(given: list[str | int | list[int]], field: str) -> Inputs:
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) == len(given):
        return Inputs(texts, [])
    numbers = [each for each in given if isinstance(each, int)]
    if len(numbers) == len(given):
        return Inputs([], [numbers])
    lists = [each for each in given if isinstance(each, list)]
    if len(lists) == len(given):
        return Inputs([], lists)
    kind = type(given[0])
    index = next(index for index, each in enumerate(given) if type(each) is not kind)
    message = f"`{field}` mixes texts and token ids: {field}[{index}] is of another type than {field}[0]."
    raise ApiError(400, message, "invalid_value", field, tei_status=422)
