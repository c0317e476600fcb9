"""The engine's tokenizer through its C interface, called with ctypes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from m3e_runtime.engine_files import library_file

__all__ = [
    "FORMAT",
    "UNSUPPORTED",
    "NativeTokenizer",
    "NativeTokenizerError",
    "Options",
    "library",
    "library_path",
    "missing",
]

ARGUMENT, FILE, FORMAT, UNSUPPORTED = 1, 2, 3, 7
_MESSAGE_SIZE = 512


class Options(ctypes.Structure):
    """m3e_options."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("threads", ctypes.c_int32),
        ("instruction_set", ctypes.c_char_p),
        ("artifact", ctypes.c_char_p),
        ("skip_verification", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]

    @staticmethod
    def of(threads: int = 0) -> Options:
        return Options(ctypes.sizeof(Options), threads, None, None, 0)


class Tokens(ctypes.Structure):
    """m3e_tokens."""

    _fields_ = [
        ("texts", ctypes.c_size_t),
        ("ids", ctypes.POINTER(ctypes.c_int32)),
        ("offsets", ctypes.POINTER(ctypes.c_int64)),
        ("cut", ctypes.POINTER(ctypes.c_int64)),
    ]


class Pairs(ctypes.Structure):
    """m3e_pairs."""

    _fields_ = [*Tokens._fields_, ("types", ctypes.POINTER(ctypes.c_int32))]


class NativeTokenizerError(ValueError):
    """A function of the C interface failed.

    Attributes:
        status: The ``m3e_status`` it returned.
    """

    def __init__(self, status: int, message: bytes) -> None:
        super().__init__(message.decode(errors="replace"))
        self.status = status


def library_path() -> Path | None:
    """``M3E_LIBRARY``, or the library that is installed with the package."""
    named = os.environ.get("M3E_LIBRARY")
    return Path(named) if named else library_file()


def missing() -> str | None:
    """Why the tokenizer cannot be tested here; None if it can."""
    path = library_path()
    if path is None:
        return "the engine was not built"
    return None if hasattr(ctypes.CDLL(str(path)), "m3e_tokenize") else "the engine is of an older version"


def library() -> ctypes.CDLL:
    """The library, with the types of the functions that texts go through."""
    loaded = ctypes.CDLL(str(library_path()))
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    loaded.m3e_tokenizer_load.argtypes = [text, pointer, pointer, text]
    loaded.m3e_tokenizer_parse.argtypes = [text, size, pointer, pointer, text]
    loaded.m3e_tokenize.argtypes = [pointer, pointer, pointer, size, ctypes.c_int32, pointer, text]
    loaded.m3e_tokenize_one.argtypes = [
        *(pointer, text, size, ctypes.c_int32),
        *(pointer, pointer, pointer, text),
    ]
    loaded.m3e_tokenize_pairs.argtypes = [*[pointer] * 5, size, ctypes.c_int32, pointer, text]
    loaded.m3e_tokenize_pairs_marked.argtypes = loaded.m3e_tokenize_pairs.argtypes
    loaded.m3e_tokens_free.argtypes = loaded.m3e_tokenizer_free.argtypes = [pointer]
    loaded.m3e_pairs_free.argtypes = [pointer]
    loaded.m3e_special_tokens.argtypes = loaded.m3e_pair_special_tokens.argtypes = [pointer]
    loaded.m3e_tokens_free.restype = loaded.m3e_tokenizer_free.restype = None
    loaded.m3e_pairs_free.restype = None
    return loaded


def _texts(texts: Iterable[str | bytes]) -> tuple[Any, Any]:
    """Texts in UTF-8, and their lengths, as the library takes them."""
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    count = len(encoded)
    return (ctypes.c_char_p * count)(*encoded), (ctypes.c_size_t * count)(*map(len, encoded))


class NativeTokenizer:
    """A tokenizer.json in the engine: its path, or its content."""

    def __init__(self, source: Path | str | bytes, threads: int = 1) -> None:
        self._library = library()
        self.handle = ctypes.c_void_p()
        options = ctypes.byref(Options.of(threads))
        if isinstance(source, Path):
            self._call("m3e_tokenizer_load", str(source).encode(), options, ctypes.byref(self.handle))
        else:
            content = source.encode() if isinstance(source, str) else source
            where = ctypes.byref(self.handle)
            self._call("m3e_tokenizer_parse", content, len(content), options, where)

    def __del__(self) -> None:
        self._library.m3e_tokenizer_free(self.handle)

    def _call(self, name: str, *arguments: Any) -> None:
        message = ctypes.create_string_buffer(_MESSAGE_SIZE)
        if status := getattr(self._library, name)(*arguments, message):
            raise NativeTokenizerError(status, message.value)

    @property
    def special_tokens(self) -> int:
        return int(self._library.m3e_special_tokens(self.handle))

    @property
    def pair_special_tokens(self) -> int:
        return int(self._library.m3e_pair_special_tokens(self.handle))

    def encode_pairs(
        self, pairs: Sequence[tuple[str | bytes, str | bytes]], most: int = 0, count: bool = True
    ) -> list[tuple[list[int], list[int], int]]:
        """Token ids and types of each pair, and how many were cut off, or, without ``count``, whether any."""
        firsts, seconds = _texts(first for first, _ in pairs), _texts(second for _, second in pairs)
        found = Pairs()
        name = "m3e_tokenize_pairs" if count else "m3e_tokenize_pairs_marked"
        self._call(name, self.handle, *firsts, *seconds, len(pairs), most, ctypes.byref(found))
        try:
            offsets = found.offsets[: len(pairs) + 1]
            ids, types = found.ids[: offsets[-1]], found.types[: offsets[-1]]
            return [
                (ids[begin:end], types[begin:end], found.cut[i])
                for i, (begin, end) in enumerate(pairwise(offsets))
            ]
        finally:
            self._library.m3e_pairs_free(ctypes.byref(found))

    def encode_batch(self, texts: Sequence[str | bytes], most: int = 0) -> list[list[int]]:
        """Token ids of each text, at most ``most``."""
        return self.encode_batch_counted(texts, most)[0]

    def encode_batch_counted(
        self, texts: Sequence[str | bytes], most: int = 0
    ) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and how many were cut off each."""
        count, tokens = len(texts), Tokens()
        self._call("m3e_tokenize", self.handle, *_texts(texts), count, most, ctypes.byref(tokens))
        try:
            offsets = tokens.offsets[: count + 1]
            ids = tokens.ids[: offsets[count]]
            return [ids[offsets[i] : offsets[i + 1]] for i in range(count)], tokens.cut[:count]
        finally:
            self._library.m3e_tokens_free(ctypes.byref(tokens))

    def encode(self, text: str | bytes, most: int = 1 << 20) -> list[int]:
        """Token ids of one text, at most ``most``."""
        return self._encode(text, most, None)

    def encode_counted(self, text: str | bytes, most: int) -> tuple[list[int], int]:
        """Token ids of one text, and how many were cut off."""
        cut = ctypes.c_int64()
        return self._encode(text, most, ctypes.byref(cut)), cut.value

    def _encode(self, text: str | bytes, most: int, cut: Any) -> list[int]:
        encoded = text.encode() if isinstance(text, str) else text
        ids, count = (ctypes.c_int32 * most)(), ctypes.c_int32()
        self._call(
            "m3e_tokenize_one", self.handle, encoded, len(encoded), most, ids, ctypes.byref(count), cut
        )
        return ids[: count.value]
