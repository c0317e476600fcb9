"""The shared library: its functions, and its errors as exceptions."""

from __future__ import annotations

import os
from ctypes import (
    CDLL,
    Array,
    PyDLL,
    Structure,
    c_char,
    c_char_p,
    c_int32,
    c_size_t,
    c_uint32,
    c_void_p,
    cast,
    sizeof,
)
from typing import Any, NoReturn

from m3e_runtime.engine_files import library_file

__all__ = [
    "Loaded",
    "Message",
    "Options",
    "UnsupportedError",
    "address_of",
    "c_string",
    "check",
    "function",
    "instruction_sets",
]

_ABI_VERSION = 2
"""M3E_ABI_VERSION, of the declarations in this package."""

Message = c_char * 512
"""M3E_MESSAGE_SIZE bytes, which a call fills if it fails."""


class UnsupportedError(ValueError):
    """A file asks for something that the library does not implement. The message names it."""


_EXCEPTIONS: dict[int, type[Exception]] = {
    2: OSError,  # M3E_ERROR_FILE
    4: MemoryError,
    5: RuntimeError,  # M3E_ERROR_INTERNAL
    6: RuntimeError,  # M3E_STOPPED
    7: UnsupportedError,
}
"""Of each m3e_status; those that are not here give a ValueError."""


class Loaded:
    """Something that the library has loaded. It is freed with this object, so there must not be two."""

    address: int | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied or pickled")


class Options(Structure):
    """``m3e_options``."""

    _fields_ = (
        ("size", c_size_t),
        ("threads", c_int32),
        ("instruction_set", c_char_p),
        ("artifact", c_char_p),
        ("skip_verification", c_int32),
        ("reserved", c_int32),
    )

    def __init__(self, threads: int, instruction_set: bytes | None = None) -> None:
        super().__init__(sizeof(Options), threads, instruction_set)


def _load() -> CDLL:
    file = library_file()
    if file is None:
        raise ModuleNotFoundError("the engine's shared library was not built", name=__name__)
    try:
        library = CDLL(os.fspath(file))
        library.m3e_abi_version.restype = c_uint32
        version = library.m3e_abi_version()
    except (OSError, AttributeError) as error:
        raise ImportError(str(error), name=__name__, path=os.fspath(file)) from error
    if version != _ABI_VERSION:
        raise ImportError(
            f"{file} has version {version} of the C interface, not {_ABI_VERSION}", path=os.fspath(file)
        )
    return library


_library = _load()
_holding_lock = PyDLL(_library._name, handle=_library._handle)


def function(name: str, result: Any, *arguments: Any, releases_lock: bool = True) -> Any:
    """The function ``name`` of the library, declared.

    Args:
        name: as in ``m3e.h``.
        result: type of the result from ``ctypes``; None for ``void``.
        arguments: types of the arguments. ``c_void_p`` takes bytes, an array of ``ctypes``, an address or
            None, and is the fastest for each.
        releases_lock: whether a call releases the global interpreter lock.

    Raises:
        ImportError: the library does not have it.
    """
    try:
        found = (_library if releases_lock else _holding_lock)[name]
    except AttributeError as error:
        raise ImportError(f"the engine's shared library is of another version: {error}") from error
    found.restype, found.argtypes = result, arguments
    return found


def address_of(name: str) -> int:
    """Address of the function ``name``, to pass it to another."""
    return cast(function(name, None), c_void_p).value or 0


def check(status: int, message: Array[c_char]) -> None:
    """Raise what a call reported.

    Raises:
        OSError: a file cannot be read.
        MemoryError: there is not enough memory.
        RuntimeError: the call was stopped, or the library has a defect.
        UnsupportedError: see there.
        ValueError: the file is damaged, or an argument cannot be used.
    """
    if status:
        raise _EXCEPTIONS.get(status, ValueError)(os.fsdecode(message.value))  # it may hold a file name


def c_string(text: bytes) -> bytes:
    """``text``, which C reads to its first zero byte.

    Raises:
        ValueError: it holds one.
    """
    if b"\0" in text:
        raise ValueError("embedded null byte")
    return text


_instruction_sets = function("m3e_instruction_sets", c_char_p)


def instruction_sets() -> str:
    """Names of the instruction sets that run here, fastest first, separated by spaces."""
    names: bytes = _instruction_sets()
    return names.decode()
