"""Bundles through the C interface, as another language uses it: ctypes over the installed library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from native_tokenizer import Options, library_path

__all__ = [
    "ARGUMENT",
    "FILE",
    "FORMAT",
    "INTEGRITY",
    "STOP",
    "STOPPED",
    "UNSUPPORTED",
    "CBundleError",
    "CModel",
    "Scoring",
]

ARGUMENT, FILE, FORMAT, STOPPED, UNSUPPORTED, INTEGRITY = 1, 2, 3, 6, 7, 8
"""Codes of m3e_status."""

STOP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)

_OUTPUTS = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}
"""In the order of m3e_output."""


class Embedding(ctypes.Structure):
    """``m3e_embedding``."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("prompt_name", ctypes.c_char_p),
        ("prompt", ctypes.c_char_p),
        ("truncate_dim", ctypes.c_int32),
        ("normalize", ctypes.c_int32),
        ("output", ctypes.c_int),
        ("ranges", ctypes.c_void_p),
        ("stop", STOP),
        ("context", ctypes.c_void_p),
    ]


class Scoring(ctypes.Structure):
    """``m3e_scoring``."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("prompt_name", ctypes.c_char_p),
        ("prompt", ctypes.c_char_p),
        ("activation", ctypes.c_int),
        ("softmax", ctypes.c_int32),
        ("stop", STOP),
        ("context", ctypes.c_void_p),
    ]


class CBundleError(Exception):
    """A function returned a code that is not M3E_OK."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def load_library() -> Any:
    """The installed library, with the types of its functions."""
    library = ctypes.CDLL(str(library_path()))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.m3e_open.argtypes = [ctypes.c_char_p, *[pointer] * 3]
    library.m3e_close.argtypes = [pointer]
    library.m3e_embed.argtypes = [*[pointer] * 3, size, *[pointer] * 4]
    library.m3e_score.argtypes = [*[pointer] * 5, size, *[pointer] * 4]
    library.m3e_model_labels.argtypes = [pointer]
    library.m3e_model_label.argtypes = [pointer, ctypes.c_int32]
    library.m3e_model_label.restype = ctypes.c_char_p
    library.m3e_vector_size.argtypes = [pointer] * 2
    library.m3e_vector_size.restype = size
    library.m3e_model_artifact.argtypes = library.m3e_model_dimension.argtypes = [pointer]
    library.m3e_model_artifact.restype = ctypes.c_char_p
    library.m3e_model_max_tokens.argtypes = [pointer]
    library.m3e_model_check.argtypes = [pointer] * 3
    library.m3e_similarity.argtypes = [pointer, pointer, size, pointer, size, ctypes.c_int32, *[pointer] * 2]
    library.m3e_bundle_verify.argtypes = [ctypes.c_char_p] * 2 + [pointer]
    library.m3e_bundle_info.argtypes = [ctypes.c_char_p, *[pointer] * 2]
    library.m3e_string_free.argtypes = [pointer]
    return library


def checked(function: Any, *arguments: Any) -> None:
    """Call ``function`` with a message behind ``arguments``, and raise what it reports."""
    message = ctypes.create_string_buffer(512)
    if code := function(*arguments, message):
        raise CBundleError(code, message.value.decode())


def _pointers(texts: Sequence[str | bytes]) -> tuple[Any, Any]:
    """Texts in UTF-8, and their lengths."""
    data = [text.encode() if isinstance(text, str) else text for text in texts]
    return (ctypes.c_char_p * len(data))(*data), (ctypes.c_size_t * len(data))(*map(len, data))


class CModel:
    """``m3e_model``."""

    def __init__(
        self,
        path: Path,
        artifact: str | None = None,
        threads: int = 1,
        verify: bool = True,
        options: Options | None = None,
    ) -> None:
        self.functions = load_library()
        name = artifact.encode() if artifact is not None else None
        asked = options or Options(ctypes.sizeof(Options), threads, None, name, not verify)
        self.handle = ctypes.c_void_p()
        checked(self.functions.m3e_open, str(path).encode(), ctypes.byref(asked), ctypes.byref(self.handle))

    def __del__(self) -> None:
        self.functions.m3e_close(self.handle)

    @property
    def artifact(self) -> str:
        name: bytes = self.functions.m3e_model_artifact(self.handle)
        return name.decode()

    def encode(
        self,
        texts: Sequence[str | bytes],
        prompt_name: str | None = None,
        prompt: str | bytes | None = None,
        precision: str = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        ranges: npt.NDArray[np.float32] | None = None,
        stop: Any = None,
    ) -> npt.NDArray[Any]:
        """Arguments and result as of ``Encoder.encode``."""
        asked = Embedding(ctypes.sizeof(Embedding))
        asked.prompt_name = prompt_name.encode() if prompt_name is not None else None
        asked.prompt = prompt.encode() if isinstance(prompt, str) else prompt
        asked.truncate_dim = truncate_dim or 0
        asked.normalize = normalize_embeddings
        asked.output = list(_OUTPUTS).index(precision)
        asked.ranges = None if ranges is None else ranges.ctypes.data
        if stop is not None:
            asked.stop = stop
        return self.embed(texts, asked, np.dtype(_OUTPUTS[precision]))[0]

    def embed(
        self, texts: Sequence[str | bytes], asked: Embedding, dtype: np.dtype[Any] | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """``m3e_embed``: vectors, and how many tokens were cut off each text."""
        size = self.functions.m3e_vector_size(self.handle, ctypes.byref(asked))
        vectors, cut = np.zeros((len(texts), size), np.uint8), np.zeros(len(texts), np.int64)
        checked(
            self.functions.m3e_embed, self.handle, *_pointers(texts), len(texts), ctypes.byref(asked),
            vectors.ctypes.data, cut.ctypes.data,
        )  # fmt: skip
        return vectors.view(dtype or np.float32), cut

    @property
    def labels(self) -> list[str]:
        """``m3e_model_labels`` and ``m3e_model_label``."""
        count = self.functions.m3e_model_labels(self.handle)
        return [self.functions.m3e_model_label(self.handle, label).decode() for label in range(count)]

    def score(
        self,
        queries: Sequence[str | bytes],
        passages: Sequence[str | bytes] | None,
        activation: str = "default",
        softmax: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        stop: Any = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """``m3e_score``: scores ``[n, labels]``, and how many tokens were cut off each pair."""
        asked = Scoring(ctypes.sizeof(Scoring))
        asked.prompt_name = prompt_name.encode() if prompt_name is not None else None
        asked.prompt = prompt.encode() if prompt is not None else None
        asked.activation = ["default", "identity", "sigmoid"].index(activation)
        asked.softmax = softmax
        if stop is not None:
            asked.stop = stop
        count, labels = len(queries), max(1, len(self.labels))
        scores, cut = np.zeros((count, labels), np.float32), np.zeros(count, np.int64)
        second = (None, None) if passages is None else _pointers(passages)
        checked(
            self.functions.m3e_score, self.handle, *_pointers(queries), *second, count,
            ctypes.byref(asked), scores.ctypes.data, cut.ctypes.data,
        )  # fmt: skip
        return scores, cut

    def least_golden_cosine(self) -> float:
        """``m3e_model_check``; of a bundle that gives scores, the largest difference."""
        least = ctypes.c_float()
        checked(self.functions.m3e_model_check, self.handle, ctypes.byref(least))
        return least.value

    def similarity(self, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """``m3e_similarity``."""
        scores = np.empty((len(a), len(b)), np.float32)
        given = a.ctypes.data, len(a), b.ctypes.data, len(b), a.shape[1]
        checked(self.functions.m3e_similarity, self.handle, *given, scores.ctypes.data)
        return scores


def verify(path: Path, artifact: str | None = None) -> None:
    """``m3e_bundle_verify``."""
    name = artifact.encode() if artifact is not None else None
    checked(load_library().m3e_bundle_verify, str(path).encode(), name)


def info(path: Path) -> str:
    """``m3e_bundle_info``."""
    library, text = load_library(), ctypes.c_void_p()
    checked(library.m3e_bundle_info, str(path).encode(), ctypes.byref(text))
    found = ctypes.string_at(text).decode()
    library.m3e_string_free(text)
    return found
