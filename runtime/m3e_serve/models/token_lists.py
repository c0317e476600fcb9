"""The tokens of texts as JSON, generated in pieces: the list of a long text is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from tokenizers import Encoding, Tokenizer

from m3e_runtime.long_texts import SpecialToken, Splits, special_tokens
from m3e_serve.errors import ApiError

__all__ = ["check_parts", "token_lists"]

_PART = 1 << 13
"""Approximate characters tokenized at a time. Their tokens take some hundred kilobytes of JSON."""

_MAX_PART = 1 << 17
"""Maximum characters between two places where a text can be split. Each character takes some 500 bytes."""

Row = dict[str, Any]


def check_parts(splits: Splits, texts: Sequence[str]) -> None:
    """Check that each text can be tokenized in parts.

    Raises:
        ApiError: 413, a text cannot be split into short enough parts.
    """
    for index, text in enumerate(texts):
        if len(text) > _MAX_PART and any(len(part) > _MAX_PART for _, part in splits.parts(text, _PART)):
            reason = (
                f"text {index} has more than {_MAX_PART} characters between two places where it can be split "
                "before tokenization; send it in parts."
            )
            raise ApiError(413, reason)


def token_lists(
    tokenizer: Tokenizer, splits: Splits, texts: Sequence[str], add_special_tokens: bool
) -> Iterator[bytes]:
    """A list of tokens for each text: id, text, whether it is special, start and stop in characters.

    Yields:
        Pieces of one JSON list, for about :data:`_PART` characters each.
    """
    around = special_tokens(tokenizer) if add_special_tokens else ([], [])
    before, after = map(_special_rows, around)
    opening = b"["
    for text in texts:
        yield opening + b"["
        opening, comma = b",", b""
        for rows in _rows_in_parts(tokenizer, splits, text, before, after):
            if rows:
                yield comma + orjson.dumps(rows)[1:-1]
                comma = b","
        yield b"]"
    yield b"]"


def _rows_in_parts(
    tokenizer: Tokenizer, splits: Splits, text: str, before: list[Row], after: list[Row]
) -> Iterator[list[Row]]:
    yield before
    for start, part in splits.parts(text, _PART):
        # encode_batch releases the interpreter's lock; encode does not.
        (encoding,) = tokenizer.encode_batch([part], add_special_tokens=False)
        yield [row for each in (encoding, *encoding.overflowing) for row in _rows(each, part, start)]
    yield after


def _rows(encoding: Encoding, part: str, offset: int) -> list[Row]:
    return [
        {
            "id": token_id,
            "text": part[start:stop],
            "special": False,
            "start": offset + start,
            "stop": offset + stop,
        }
        for token_id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
    ]


def _special_rows(tokens: Sequence[SpecialToken]) -> list[Row]:
    return [
        {"id": token_id, "text": token, "special": True, "start": None, "stop": None}
        for token_id, token in tokens
    ]
