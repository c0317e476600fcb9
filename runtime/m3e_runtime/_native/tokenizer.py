"""``m3e_tokenizer``: texts to token ids."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from ctypes import (
    Structure,
    byref,
    c_char,
    c_char_p,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
    cast,
    string_at,
)
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_runtime._native.shared_library import Loaded, Message, Options, UnsupportedError, check, function
from m3e_runtime.under_way import under_way

__all__ = ["NativeTokenizer"]

_SHORT = 1 << 10
"""Bytes of a text that is tokenized with the global interpreter lock, which takes some ten microseconds. To
wait for the lock again can take milliseconds where other threads want it."""

_parse = function("m3e_tokenizer_parse", c_int32, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)
_free = function("m3e_tokenizer_free", None, c_void_p)
_special_tokens = function("m3e_special_tokens", c_int32, c_void_p)
_vocabulary_size = function("m3e_tokenizer_vocabulary_size", c_int32, c_void_p)
_TEXTS = (c_void_p, c_void_p, c_void_p, c_size_t, c_int32)  # tokenizer, texts, lengths, count, most
_tokenize = function("m3e_tokenize_marked", c_int32, *_TEXTS, c_void_p, c_void_p)
_ONE = (c_void_p, c_char_p, c_size_t, c_int32)  # tokenizer, text, length, most
_OUTPUTS = (c_void_p, c_void_p, c_void_p, c_void_p)  # ids, count, cut, message
_tokenize_one = function("m3e_tokenize_one", c_int32, *_ONE, *_OUTPUTS)
_tokenize_short = function("m3e_tokenize_one", c_int32, *_ONE, *_OUTPUTS, releases_lock=False)
_tokens_free = function("m3e_tokens_free", None, c_void_p)
# Tokenizer, first texts, their lengths, second texts, their lengths, count, most.
_PAIRS = (c_void_p, *(c_void_p, c_void_p) * 2, c_size_t, c_int32)
_tokenize_pairs = function("m3e_tokenize_pairs_marked", c_int32, *_PAIRS, c_void_p, c_void_p)
_pairs_free = function("m3e_pairs_free", None, c_void_p)
_pair_special_tokens = function("m3e_pair_special_tokens", c_int32, c_void_p)

_Int32, _Int64 = c_int32 * 1, c_int64 * 1

TokenIds = npt.NDArray[np.int32]


class _Tokens(Structure):
    """``m3e_tokens``."""

    _fields_ = (("texts", c_size_t), ("ids", c_void_p), ("offsets", c_void_p), ("cut", c_void_p))

    def __del__(self, free: Any = _tokens_free) -> None:
        free(byref(self))


class _Pairs(Structure):
    """``m3e_pairs``."""

    _fields_ = (*_Tokens._fields_, ("types", c_void_p))

    def __del__(self, free: Any = _pairs_free) -> None:
        free(byref(self))


class _AddedToken(msgspec.Struct):
    id: int
    special: bool = False


class _AddedTokens(msgspec.Struct):
    added_tokens: list[_AddedToken] = []


class _LoadedTokenizer(Loaded):
    """An ``m3e_tokenizer``."""

    def __init__(self, json: mmap.mmap, threads: int) -> None:
        self.json = json
        tokenizer, message = c_void_p(), Message()
        content = (c_char * len(json)).from_buffer(json)
        status = _parse(content, len(json), byref(Options(threads)), byref(tokenizer), message)
        self.address = tokenizer.value
        check(status, message)

    def __del__(self, free: Any = _free) -> None:
        free(self.address)


class NativeTokenizer:
    """The engine's tokenizer, which truncates texts at ``max_length`` tokens.

    Several threads can use it at once. The methods raise a TypeError for what is not a string, and a
    UnicodeEncodeError for a lone surrogate.
    """

    def __init__(self, loaded: _LoadedTokenizer, max_length: int) -> None:
        self.special_tokens: int = _special_tokens(loaded.address)
        self.pair_special_tokens: int = _pair_special_tokens(loaded.address)
        self.vocabulary_size: int = _vocabulary_size(loaded.address)
        if max_length < self.special_tokens:
            raise UnsupportedError(f"{max_length} tokens have no room for the special ones")
        self.max_length = max_length
        self._loaded = loaded
        self._tokenizer = loaded.address
        self._room: Any = c_int32 * max_length

    @staticmethod
    def parse(json: mmap.mmap, max_length: int, threads: int) -> NativeTokenizer:
        """Load the content of a ``tokenizer.json``.

        Args:
            json: the content, mapped with ``ACCESS_COPY``.
            max_length: tokens that truncation keeps, special ones included.
            threads: most threads that tokenize a batch.

        Raises:
            UnsupportedError: it asks for something that the engine does not have. The message names it.
            ValueError: it is not a tokenizer.
            MemoryError: there is not enough memory.
        """
        return NativeTokenizer(_LoadedTokenizer(json, threads), max_length)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the tokens that the file marks as special."""
        added = msgspec.json.decode(self._loaded.json, type=_AddedTokens).added_tokens
        return frozenset(token.id for token in added if token.special)

    def limited(self, max_length: int) -> NativeTokenizer:
        """This tokenizer with another limit."""
        return NativeTokenizer(self._loaded, max_length)

    def __deepcopy__(self, memo: dict[int, Any]) -> NativeTokenizer:
        return self  # it does not change

    def encode(self, text: str) -> TokenIds:
        """Token ids of one text, int32 ``[length]``."""
        content = str.encode(text)
        if len(content) > _SHORT:
            return self.encode_batch([text])[0][0]
        ids, count, message = self._room(), _Int32(), Message()
        given = content, len(content), self.max_length
        check(_tokenize_short(self._tokenizer, *given, ids, count, None, message), message)
        return np.frombuffer(ids, np.int32)[: count[0]].copy()

    def encode_batch(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """Token ids of each text, and whether it was truncated. Releases the global interpreter lock."""
        if not texts:
            return [], []
        given, tokens, message = _Texts(texts), _Tokens(), Message()
        with under_way():
            status = _tokenize(
                self._tokenizer, *given.arrays, len(texts), self.max_length, byref(tokens), message
            )
        check(status, message)
        offsets, cut = _offsets(tokens), _cut(tokens)
        return _split(_copied(tokens.ids, offsets[-1], np.int32), offsets), cut

    def encode_pairs(
        self, firsts: Sequence[str], seconds: Sequence[str]
    ) -> tuple[list[TokenIds], list[TokenIds], list[bool]]:
        """Token ids of pairs, truncated as transformers' ``longest_first`` does.

        Releases the global interpreter lock.

        Args:
            firsts: the first text of each pair.
            seconds: the second ones, as many.

        Returns:
            Token ids of each pair, the types of its tokens, and whether it was truncated.

        Raises:
            UnsupportedError: ``pair_special_tokens`` is -1: the file makes pairs as the engine cannot.
            ValueError: the special tokens alone are more than ``max_length``.
        """
        a, b, pairs, message = _Texts(firsts), _Texts(seconds), _Pairs(), Message()
        if len(firsts) != len(seconds):
            raise ValueError("there must be as many second texts as first ones")
        with under_way():
            status = _tokenize_pairs(
                *(self._tokenizer, *a.arrays, *b.arrays, len(firsts), self.max_length),
                *(byref(pairs), message),
            )
        check(status, message)
        offsets, cut = _offsets(pairs), _cut(pairs)
        ids = _copied(pairs.ids, offsets[-1], np.int32)
        types = _copied(pairs.types, offsets[-1], np.int32)
        return _split(ids, offsets), _split(types, offsets), cut

    def count(self, text: str) -> int:
        """Number of tokens of a text that is not truncated."""
        content, count, cut, message = str.encode(text), _Int32(), _Int64(), Message()
        given = content, len(content), self.max_length, self._room()
        with under_way():
            status = _tokenize_one(self._tokenizer, *given, count, cut, message)
        check(status, message)
        return count[0] + cut[0]


class _Texts:
    """Texts in UTF-8 as the library takes them."""

    def __init__(self, texts: Sequence[str]) -> None:
        contents = [str.encode(text) for text in texts]
        self.joined = b"".join(contents)
        lengths: npt.NDArray[Any] = np.fromiter(map(len, contents), np.uintp, len(contents))
        starts = np.cumsum(lengths) - lengths + _address(self.joined)
        self.arrays = starts.tobytes(), lengths.tobytes()
        """Where each text starts, and its length."""


def _offsets(tokens: _Tokens | _Pairs) -> list[int]:
    offsets: list[int] = _copied(tokens.offsets, tokens.texts + 1, np.int64).tolist()
    return offsets


def _cut(tokens: _Tokens | _Pairs) -> list[bool]:
    cut: list[bool] = _copied(tokens.cut, tokens.texts, np.int64).astype(bool).tolist()
    return cut


def _split(values: TokenIds, offsets: list[int]) -> list[TokenIds]:
    return [values[start:stop] for start, stop in pairwise(offsets)]


def _address(content: bytes) -> Any:
    return np.uintp(cast(c_char_p(content), c_void_p).value or 0)


def _copied(address: int, count: int, dtype: type[Any]) -> npt.NDArray[Any]:
    """A copy of ``count`` numbers at ``address``."""
    return np.frombuffer(bytearray(string_at(address, count * np.dtype(dtype).itemsize)), dtype)
