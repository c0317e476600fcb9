"""Checks of argument types. Another type is converted if its meaning is clear, otherwise rejected."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import OptionError

__all__ = [
    "check_batch_size",
    "check_flag",
    "check_text",
    "float_array",
    "folder",
    "id_arrays",
    "whole_number",
]

_INT32 = np.iinfo(np.int32)


def whole_number(name: str, value: Any, least: int, most: int | None = None, why: str = "") -> int:
    """``value`` as an int: one of Python's or numpy's, from ``least`` to ``most``.

    Raises:
        OptionError: it is a string, a float or a bool, or it is out of range. The message ends with ``why``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise OptionError(f"{name}={value!r} is {type(value).__name__}, not a whole number.")
    if number < least or (most is not None and number > most):
        wanted = f"at least {least}" if most is None else f"between {least} and {most}"
        raise OptionError(f"{name}={number} is not {wanted}{why}.")
    return number


def check_flag(name: str, value: Any) -> None:
    """Reject what is neither True nor False: the string ``"false"`` would count as True.

    Raises:
        OptionError: it is something else.
    """
    if not isinstance(value, (bool, np.bool_)) and not (isinstance(value, int) and value in (0, 1)):
        raise OptionError(f"{name}={value!r} is {type(value).__name__}, not True or False.")


def check_batch_size(batch_size: int | None) -> None:
    """Reject a ``batch_size`` that is not a positive number of texts. None means no limit.

    Raises:
        OptionError: it is below one, or of another type.
    """
    if batch_size is not None:
        whole_number("batch_size", batch_size, 1, why=": so many texts run together")


def check_text(name: str, value: Any) -> None:
    """Reject what is neither a string nor None.

    Raises:
        OptionError: it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise OptionError(f"{name}={value!r} is {type(value).__name__}, not a string.")


def folder(name: str, value: Any) -> Path:
    """``value`` as a path: a string, a path, or the bytes of a name that is not UTF-8.

    Raises:
        OptionError: it is something else.
    """
    try:
        return Path(os.fsdecode(value))
    except TypeError as error:
        raise OptionError(f"{name}={value!r} is {type(value).__name__}, not the path of a folder.") from error


def float_array(name: str, value: Any) -> npt.NDArray[np.float32]:
    """``value`` as a float32 array: an array, or lists of numbers.

    Raises:
        OptionError: it holds something other than numbers, or rows of unequal length.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise OptionError(f"{name} must have rows of one length.") from error
    if array.dtype.kind not in "fiu":
        raise OptionError(f"{name} holds {array.dtype}, not numbers; pass an array of float32.")
    return array.astype(np.float32, copy=False)


def id_arrays(name: str, value: Any) -> Sequence[npt.NDArray[np.int32]]:
    """``value`` as int32 arrays ``[length]``, one for each text. A value of that form is returned unchanged.

    Raises:
        OptionError: a text is not a sequence of whole numbers, or a number does not fit into 32 bits.
    """
    try:
        if all(type(ids) is np.ndarray and ids.dtype == np.int32 and ids.ndim == 1 for ids in value):
            arrays: Sequence[npt.NDArray[np.int32]] = value
            return arrays
        return [_int32(f"{name}[{index}]", ids) for index, ids in enumerate(value)]
    except TypeError as error:
        raise OptionError(f"{name} must hold an int32 array for each text.") from error


def _int32(name: str, value: Any) -> npt.NDArray[np.int32]:
    ids = np.asarray(value)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise OptionError(f"{name} must be an int32 array [length], not {ids.dtype} of shape {ids.shape}.")
    if ids.size and (ids.min() < _INT32.min or ids.max() > _INT32.max):
        raise OptionError(f"{name} holds a number that is no token id.")
    return ids.astype(np.int32)
