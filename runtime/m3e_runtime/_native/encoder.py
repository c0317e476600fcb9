"""``m3e_encoder``: token ids to vectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from ctypes import Array, Structure, byref, c_char, c_char_p, c_int32, c_size_t, c_void_p, sizeof
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime._native.shared_library import Loaded, Message, Options, address_of, c_string, check, function
from m3e_runtime.under_way import interruptible

__all__ = ["NativeEncoder", "Stop"]

INTERRUPTIBLE_TOKENS = 256
"""Longer calls in the main thread compute in another one, so that signal handlers run meanwhile. The largest
models take some tenths of a second for so many tokens; starting a thread takes less than 0.1 ms."""

_load = function("m3e_load", c_int32, c_char_p, c_void_p, c_void_p, c_void_p)
_free = function("m3e_free", None, c_void_p)
_STOP = (c_void_p, c_void_p, c_void_p)  # stop, context, message
# Encoder, inputs, vectors, states.
_run: Callable[..., int] = function("m3e_run", c_int32, c_void_p, c_void_p, c_void_p, c_void_p, *_STOP)
_run_outputs: Callable[..., int] = function("m3e_run_outputs", c_int32, c_void_p, c_void_p, c_void_p, *_STOP)
_stop_if_set = address_of("m3e_stop_if_set")

_has_token_weights = function("m3e_has_token_weights", c_int32, c_void_p)
_has_term_weights = function("m3e_has_term_weights", c_int32, c_void_p)
_token_vector_size = function("m3e_token_vector_size", c_int32, c_void_p)
_dimension = function("m3e_dimension", c_int32, c_void_p)
_hidden_size = function("m3e_hidden_size", c_int32, c_void_p)
_max_tokens = function("m3e_max_tokens", c_int32, c_void_p)
_vocabulary_size = function("m3e_vocabulary_size", c_int32, c_void_p)
_token_types = function("m3e_token_types", c_int32, c_void_p)
_threads = function("m3e_threads", c_int32, c_void_p)
_arithmetic = function("m3e_arithmetic", c_char_p, c_void_p)
_instruction_set = function("m3e_instruction_set", c_char_p, c_void_p)

_INT32, _INT64, _FLOAT32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)
_int64_at = Struct("=q").unpack_from
_memory_of: Any = (c_char * 0).from_buffer
"""The memory of a writable array, for a call. This is twice as fast as ``array.ctypes.data``."""


class Stop(Array[c_int32]):  # an array is passed faster than the address of a number
    """Lets another thread end a call. The engine looks at it about ten times a second."""

    _type_ = c_int32
    _length_ = 1

    def set(self) -> None:
        """Let the call return soon."""
        self[0] = 1


class _Inputs(Structure):
    """``m3e_inputs``. Bytes stand for the arrays that they hold."""

    _fields_ = (
        ("size", c_size_t),
        ("ids", c_char_p),
        ("offsets", c_char_p),
        ("texts", c_size_t),
        ("prompt_lengths", c_char_p),
        ("token_types", c_char_p),
        ("attended_lengths", c_char_p),
    )


_INPUTS_SIZE = sizeof(_Inputs)


class _Outputs(Structure):
    """``m3e_outputs``."""

    _fields_ = (
        ("size", c_size_t),
        ("vectors", c_void_p),
        ("states", c_void_p),
        ("token_weights", c_void_p),
        ("token_vectors", c_void_p),
        ("term_weights", c_void_p),
    )


class NativeEncoder(Loaded):
    """Weights loaded for one instruction set and a number of threads.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or an argument cannot be used.
        TypeError: an argument of another type. Nothing is converted.
    """

    def __init__(
        self, path: str | bytes | os.PathLike[str], threads: int = 1, instruction_set: str = ""
    ) -> None:
        if type(threads) is not int or threads.bit_length() > 31:
            raise TypeError("threads must be a 32-bit int")
        options = Options(threads, c_string(instruction_set.encode()) or None)
        encoder, message = c_void_p(), Message()
        check(_load(c_string(os.fsencode(path)), byref(options), byref(encoder), message), message)
        self.address = encoder.value
        self.dimension: int = _dimension(self.address)
        self.hidden_size: int = _hidden_size(self.address)
        self.max_tokens: int = _max_tokens(self.address)
        self.vocabulary_size: int = _vocabulary_size(self.address)
        self.token_types: int = _token_types(self.address)
        self.has_token_weights = bool(_has_token_weights(self.address))
        self.token_vector_size: int = _token_vector_size(self.address)
        self.has_term_weights = bool(_has_term_weights(self.address))
        self.threads: int = _threads(self.address)
        self.arithmetic: str = _arithmetic(self.address).decode()
        self.instruction_set: str = _instruction_set(self.address).decode()

    def __del__(self, free: Any = _free) -> None:
        free(self.address)

    def encode(
        self,
        ids: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        vectors: npt.NDArray[np.float32],
        prompt_lengths: npt.NDArray[np.int64] | None = None,
        stop: Stop | None = None,
        states: npt.NDArray[np.float32] | None = None,
        token_types: npt.NDArray[np.int32] | None = None,
        token_weights: npt.NDArray[np.float32] | None = None,
        token_vectors: npt.NDArray[np.float32] | None = None,
        attended_lengths: npt.NDArray[np.int64] | None = None,
        term_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Encode a flat run of ids. A signal handler that raises ends the call.

        Args:
            ids: int32 ``[tokens]``; like all arrays contiguous.
            offsets: int64 ``[texts + 1]``; text i has ``ids[offsets[i]:offsets[i + 1]]``.
            vectors: takes the result, float32 ``[texts, dimension]``.
            prompt_lengths: number of tokens at the start of each text that the pooling excludes, int64
                ``[texts]``.
            stop: ends the call.
            states: takes the last hidden state of each token, float32 ``[tokens, hidden_size]``.
            token_types: type of each token, int32 ``[tokens]``, below ``self.token_types``. None: all are 0.
            token_weights: takes the weight of each token, float32 ``[tokens, 1]``.
            token_vectors: takes the vector of each token, float32 ``[tokens, token_vector_size]``.
            attended_lengths: number of tokens at the start of each text that its tokens attend to, int64
                ``[texts]``. None: all.
            term_weights: takes the weight of each term in each text, float32 ``[texts, vocabulary_size]``.

        Raises:
            ValueError: arrays that do not fit together, a token id that is not in the vocabulary, or a token
                type or an output that the model does not have.
            TypeError: an array of another type, shape or order. Nothing is converted.
            RuntimeError: ``stop`` was set.
        """
        # Copies: other threads cannot change them after the checks.
        id_bytes = _copy(ids, _INT32, "ids must be a contiguous int32 array [tokens]")
        offset_bytes = _copy(offsets, _INT64, "offsets must be a contiguous int64 array [texts + 1]")
        memory = _memory(vectors, "vectors must be a contiguous, writable float32 array [texts, dimension]")
        tokens, texts = len(id_bytes) // 4, len(offset_bytes) // 8 - 1
        if vectors.shape != (texts, self.dimension):
            raise ValueError("vectors must be [texts, dimension] and offsets [texts + 1]")
        if _int64_at(offset_bytes, 8 * texts)[0] != tokens:
            raise ValueError("the last offset must be the number of token ids")
        prompts = _of_texts(prompt_lengths, texts, "prompt_lengths")
        attended = _of_texts(attended_lengths, texts, "attended_lengths")
        types = None if token_types is None else _types(token_types, tokens)
        inputs = _Inputs(_INPUTS_SIZE, id_bytes, offset_bytes, texts, prompts, types, attended)
        written = None if states is None else self._states(states, tokens)
        stop, message = Stop() if stop is None else stop, Message()
        if token_weights is None and token_vectors is None and term_weights is None:
            status = self._call(tokens, stop, message, _run, byref(inputs), memory, written)
        else:
            outputs = _Outputs(
                sizeof(_Outputs),
                vectors.ctypes.data,
                None if states is None else states.ctypes.data,
                None if token_weights is None else _address(token_weights, tokens, 1),
                None if token_vectors is None else _address(token_vectors, tokens, self.token_vector_size),
                None if term_weights is None else _address(term_weights, texts, self.vocabulary_size),
            )
            status = self._call(tokens, stop, message, _run_outputs, byref(inputs), byref(outputs))
        check(status, message)

    def _states(self, states: npt.NDArray[np.float32], tokens: int) -> Any:
        memory = _memory(states, "states must be a contiguous, writable float32 array [tokens, hidden]")
        if states.shape != (tokens, self.hidden_size):
            raise ValueError("states must be [tokens, hidden]")
        return memory

    def _call(
        self, tokens: int, stop: Stop, message: Any, function: Callable[..., int], *arguments: Any
    ) -> int:
        ending = _stop_if_set, stop, message
        if tokens <= INTERRUPTIBLE_TOKENS:
            return function(self.address, *arguments, *ending)
        # The call keeps `self`, so that the encoder lives until it ends.
        return interruptible(lambda: function(self.address, *arguments, *ending), stop.set)


def _address(array: npt.NDArray[np.float32], rows: int, columns: int) -> int:
    """The address of an array, float32 ``[rows, columns]``."""
    what = f"a contiguous, writable float32 array [{rows}, {columns}] is needed"
    _memory(array, what)
    if array.shape != (rows, columns):
        raise ValueError(what)
    return array.ctypes.data


def _of_texts(lengths: npt.NDArray[np.int64] | None, texts: int, name: str) -> bytes | None:
    if lengths is None:
        return None
    given = _copy(lengths, _INT64, f"{name} must be a contiguous int64 array [texts]")
    if len(given) != 8 * texts:
        raise ValueError(f"{name} must be [texts]")
    return given


def _types(types: npt.NDArray[np.int32], tokens: int) -> bytes:
    given = _copy(types, _INT32, "token_types must be a contiguous int32 array [tokens]")
    if len(given) != 4 * tokens:
        raise ValueError("token_types must be [tokens]")
    return given


def _copy(array: npt.NDArray[Any], dtype: np.dtype[Any], what: str) -> bytes:
    if (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == 1
        and array.flags.c_contiguous
    ):
        return array.tobytes()
    raise TypeError(what)


def _memory(array: npt.NDArray[np.float32], what: str) -> Any:
    # `carray`: aligned, writable and contiguous.
    if isinstance(array, np.ndarray) and array.dtype == _FLOAT32 and array.ndim == 2 and array.flags.carray:
        return _memory_of(array)
    raise TypeError(what)
