"""Columns in the names of folders, as in Hive: ``lang=zh/year=2024/part-0.parquet``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import unquote

from m3e_corpora.arrow import import_arrow
from m3e_corpora.errors import UnreadableInputError
from m3e_corpora.inputs.find import InputFile, is_uri
from m3e_runtime.file_names import shown

__all__ = ["FolderType", "FolderValue", "folder_field", "folder_types", "folder_values"]

FolderType = Literal["int32", "string"]
FolderValue = int | str | None

_NULL = "__HIVE_DEFAULT_PARTITION__"
"""The value that Hive, Spark and Arrow write for null."""

_DECIMAL = re.compile(r"-?[0-9]+")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,8}")
_DIGITS = len(str(1 << 31))


def folder_types(files: Sequence[InputFile], names: Sequence[str]) -> dict[str, FolderType]:
    """Infer the types of the columns in ``names`` that occur in folder names.

    The rule is pyarrow's: int32 if every value in every file is a 32-bit integer, else string.

    Raises:
        UnreadableInputError: a value is not UTF-8.
    """
    values: dict[str, set[str | None]] = {}
    for file in files:
        for name, value in _texts(file, names).items():
            values.setdefault(name, set()).add(value)
    return {name: _type_of(each - {None}) for name, each in values.items()}


def folder_values(file: InputFile, types: Mapping[str, FolderType]) -> dict[str, FolderValue]:
    """The values that the folders of ``file`` give to the columns in ``types``. The innermost folder wins.

    Raises:
        UnreadableInputError: a value is not UTF-8.
    """
    texts = _texts(file, tuple(types))
    return {
        name: value if value is None or types[name] == "string" else _int32(value)
        for name, value in texts.items()
    }


def folder_field(name: str, types: Mapping[str, FolderType]) -> Any:
    """The Arrow field of a column that folders name."""
    arrow = import_arrow("Parquet")
    return arrow.field(name, arrow.int32() if types[name] == "int32" else arrow.string())


def _texts(file: InputFile, names: Sequence[str]) -> dict[str, str | None]:
    found = {}
    for name, value in _pairs(file.path):
        if name in names:
            found[name] = _decoded(file, name, value)
    return found


def _pairs(path: str) -> Iterator[tuple[str, str]]:
    """Names and values in the folders. Values are still percent-encoded: most are not needed."""
    for folder in _folders(path):
        name, separator, value = folder.partition("=")
        if separator:
            yield unquote(name), value


def _folders(path: str) -> Sequence[str]:
    if is_uri(path):
        return [unquote(folder) for folder in path.partition("?")[0].split("/")[:-1]]
    return PurePath(path).parts[:-1]


def _decoded(file: InputFile, name: str, value: str) -> str | None:
    try:
        text = unquote(value, errors="strict")
        text.encode("utf-8")
    except UnicodeError as error:
        raise UnreadableInputError(
            f"{file.name}: the value of {name!r} in the folder name, {shown(value)!r}, is not UTF-8; "
            "rename the folder, or leave the column out of --keep."
        ) from error
    return None if text == _NULL else text


def _type_of(values: Set[str | None]) -> FolderType:
    fits = values and all(value is not None and _int32(value) is not None for value in values)
    return "int32" if fits else "string"


def _int32(text: str) -> int | None:
    """Parse a 32-bit integer as pyarrow does; hexadecimal numbers are two's complement. Else None."""
    if _HEXADECIMAL.fullmatch(text):
        number = int(text, 16)
        return number - (1 << 32) if number >> 31 else number
    if not _DECIMAL.fullmatch(text) or len(text.lstrip("-0")) > _DIGITS:
        return None
    number = int(text)
    return number if -(1 << 31) <= number < 1 << 31 else None
