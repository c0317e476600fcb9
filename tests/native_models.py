"""The engine's models of a tokenizer alone: a library compiled for the tests, called through ctypes."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

__all__ = [
    "NativeModel",
    "NativeModelError",
    "build",
    "compiler",
    "crate",
    "crate_accepts",
    "read_number",
    "tokenizer_json",
]

_NATIVE = Path(__file__).parents[1] / "runtime" / "native"
_SOURCES = (
    "src/json_number.cpp",
    "src/json_text.cpp",
    *("src/tokenizer/bpe.cpp", "src/tokenizer/bpe_merges.cpp", "src/tokenizer/bpe_word.cpp"),
    *("src/tokenizer/model.cpp", "src/tokenizer/model_json.cpp", "src/tokenizer/piece_trie.cpp"),
    *("src/tokenizer/unigram.cpp", "src/tokenizer/utf8.cpp", "src/tokenizer/vocabulary.cpp"),
    *("src/tokenizer/word_level.cpp", "src/tokenizer/word_piece.cpp", "tests/model_shim.cpp"),
)
_NO_LIMIT = 2**63
_KINDS = ("argument", "file", "format", "stopped", "unsupported", "integrity")  # ErrorKind of src/error.h


def compiler() -> str | None:
    """A C++ compiler of this machine."""
    return shutil.which("g++") or shutil.which("clang++")


def build(folder: Path) -> ctypes.CDLL:
    """Compiles the models."""
    path, command = folder / "models.so", compiler()
    assert command is not None
    includes = [f"-I{_NATIVE / name}" for name in ("src", "include")]
    sources = [str(_NATIVE / name) for name in _SOURCES]
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", *includes]
    subprocess.run([command, *options, *sources, "-o", str(path)], check=True)
    return _declare(ctypes.CDLL(str(path)))


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    text, size, model = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p
    library.model_open.argtypes = [text, size, ctypes.POINTER(model), text, size]
    library.model_open.restype = ctypes.c_int64
    library.model_close.argtypes, library.model_close.restype = [model], None
    library.model_size.argtypes, library.model_size.restype = [model], ctypes.c_int64
    library.model_id.argtypes, library.model_id.restype = [model, text, size], ctypes.c_int64
    ids = ctypes.POINTER(ctypes.c_int32)
    library.model_tokenize.argtypes = [model, text, size, size, ids, size, text, size]
    library.model_tokenize.restype = ctypes.c_int64
    library.number_read.argtypes = [text, size, ctypes.POINTER(ctypes.c_double)]
    library.number_read.restype = ctypes.c_bool
    return library


class NativeModelError(ValueError):
    """The engine refused a model or a text.

    Attributes:
        kind: Name of the ``ErrorKind``.
    """

    def __init__(self, kind: str, message: bytes) -> None:
        super().__init__(message.decode(errors="replace"))
        self.kind = kind


class NativeModel:
    """A model of the engine, read from the JSON text of the member ``model``."""

    def __init__(self, library: ctypes.CDLL, model: Mapping[str, Any] | str | bytes) -> None:
        text = model if isinstance(model, str | bytes) else json.dumps(model)
        encoded = text.encode() if isinstance(text, str) else text
        message = ctypes.create_string_buffer(500)
        self._library, self._model = library, ctypes.c_void_p()
        status = library.model_open(encoded, len(encoded), self._model, message, len(message))
        if status < 0:
            raise NativeModelError(_KINDS[-1 - status], message.value)

    def __del__(self) -> None:
        self._library.model_close(self._model)

    def __len__(self) -> int:
        return int(self._library.model_size(self._model))

    def id_of(self, token: str) -> int | None:
        encoded = token.encode()
        found = int(self._library.model_id(self._model, encoded, len(encoded)))
        return None if found < 0 else found

    def tokenize(self, piece: str, most: int = _NO_LIMIT) -> list[int]:
        encoded = piece.encode()
        room = 16 * len(encoded) + 16
        ids = (ctypes.c_int32 * room)()
        message = ctypes.create_string_buffer(500)
        count = self._library.model_tokenize(
            self._model, encoded, len(encoded), most, ids, room, message, len(message)
        )
        if count < 0:
            raise NativeModelError(_KINDS[-1 - count], message.value)
        return list(ids[:count])


def read_number(library: ctypes.CDLL, text: str) -> float | None:
    """What the engine reads from ``text``; ``None`` if that is no number of JSON."""
    value = ctypes.c_double()
    found = library.number_read(text.encode(), len(text), value)
    return value.value if found else None


def tokenizer_json(model: Mapping[str, Any] | str) -> str:
    """A tokenizer.json that has nothing but a model."""
    text = model if isinstance(model, str) else json.dumps(model)
    return '{"version":"1.0","added_tokens":[],"model":' + text + "}"


def crate(model: Mapping[str, Any] | str) -> Tokenizer:
    """The same in the package tokenizers."""
    return Tokenizer.from_str(tokenizer_json(model))


def crate_accepts(model: Mapping[str, Any] | str) -> bool:
    """Whether the package reads it; some damage makes it panic, which pyo3 raises past ``Exception``."""
    try:
        crate(model)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return False
    return True
