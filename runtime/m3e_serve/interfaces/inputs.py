"""The texts or token ids of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m3e_serve.errors import ApiError

__all__ = ["Inputs", "RawInputs", "read_inputs"]

RawInputs = str | list[str | int | list[int]]
"""A text, texts, the token ids of a text, or those of several."""


@dataclass(frozen=True)
class Inputs:
    """Either ``texts`` or ``token_ids``; the other is empty."""

    texts: list[str]
    token_ids: Sequence[Sequence[int]]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.texts) or len(self.token_ids)


def read_inputs(given: RawInputs, field: str, most: int) -> Inputs:
    """Tell texts from token ids; there is at least one of either.

    Args:
        given: the content of ``field``.
        field: its name, for errors.
        most: texts of a request.

    Raises:
        ApiError: there is none, there are more than ``most``, or texts and ids are mixed.
    """
    if not isinstance(given, list):
        return Inputs([given], [])
    if not given:
        message = f"`{field}` is empty; send a text or a list of texts."
        raise ApiError(400, message, "invalid_value", field, "Empty")
    inputs = _sorted(given, field)
    if inputs.count > most:
        message = f"`{field}` has {inputs.count} inputs; at most {most} are possible."
        raise ApiError(400, message, "invalid_value", field, tei_status=413)
    return inputs


def _sorted(given: list[str | int | list[int]], field: str) -> Inputs:
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
    message = f"`{field}` mixes texts and token ids: {field}[{index}] is another kind than {field}[0]."
    raise ApiError(400, message, "invalid_value", field, tei_status=422)
