"""Parts of the engine's tokenizer, compiled for a test: there is no C function for each of them."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

NATIVE = Path(__file__).parents[1] / "runtime/native"
COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)


class RefusedError(Exception):
    """A normalizer that the engine does not read: `unsupported` if it is unknown and not damaged."""

    def __init__(self, message: str, unsupported: bool):
        super().__init__(message)
        self.unsupported = unsupported


_SOURCES = (
    *("base64", "json", "json_number", "json_text"),
    *("tokenizer/bert_normalizer", "tokenizer/character_map", "tokenizer/graphemes", "tokenizer/lowercase"),
    *("tokenizer/normal_forms", "tokenizer/normalizer", "tokenizer/precompiled", "tokenizer/replace"),
    *("tokenizer/unicode_tables", "tokenizer/utf8"),
)


def build_normalizers(folder: Path, *options: str) -> ctypes.CDLL:
    """Compile the normalizers and load them."""
    target = folder / "normalizers.so"
    sources = [NATIVE / "tests/normalizer_shim.cpp", *(NATIVE / f"src/{name}.cpp" for name in _SOURCES)]
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{NATIVE / 'src'}"]
    subprocess.run([COMPILER, *flags, *options, *map(str, sources), "-o", target], check=True)
    return load_normalizers(target)


def load_normalizers(target: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(target))
    library.shim_read.restype = ctypes.c_void_p
    library.shim_apply.restype = ctypes.c_void_p
    return library


def read_normalizer(library: ctypes.CDLL, json: str) -> Callable[[str], str | None]:
    """The engine's normalizer of a description; it answers None to a text that it refuses."""
    described, message, unsupported = json.encode(), ctypes.create_string_buffer(1000), ctypes.c_int(0)
    normalizer = library.shim_read(
        described, ctypes.c_size_t(len(described)), ctypes.byref(unsupported), message, ctypes.c_size_t(1000)
    )
    if not normalizer:
        raise RefusedError(message.value.decode(), bool(unsupported.value))
    handle, size = ctypes.c_void_p(normalizer), ctypes.c_size_t()

    def apply(text: str) -> str | None:
        given = text.encode()
        answer = library.shim_apply(handle, given, ctypes.c_size_t(len(given)), ctypes.byref(size))
        return ctypes.string_at(answer, size.value).decode() if answer else None

    return apply
