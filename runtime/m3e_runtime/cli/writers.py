"""Files of vectors: npy, Parquet, JSON Lines, each written row by row and there whole or not at all."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_runtime.cli.readers import Row
from m3e_runtime.errors import EngineMissingError, M3EError, OptionError

__all__ = ["STANDARD_OUTPUT", "VectorType", "Writer", "check_output", "make_writer", "open_output"]

STANDARD_OUTPUT = "-"

_ROWS_PER_GROUP = 8192


@dataclass(frozen=True)
class VectorType:
    """What all vectors of an output have in common."""

    length: int
    dtype: np.dtype[Any]


class Writer(Protocol):
    """Writes one output format to an open file."""

    def write(self, row: Row, vector: npt.NDArray[Any]) -> None:
        """Add a row; ``vector`` has the :class:`VectorType` that the writer was made for."""

    def close(self) -> None:
        """Complete the format. The file stays open, and this is called after an error too."""


class NpyWriter:
    """``[rows, length]`` as ``numpy.load`` reads it; may be opened with ``mmap_mode``."""

    def __init__(self, stream: BinaryIO, vectors: VectorType, provenance: Mapping[str, str]) -> None:
        self._stream = stream
        self._vectors = vectors
        self._rows = 0
        self._write_header()
        self._data_start = stream.tell()

    def write(self, row: Row, vector: npt.NDArray[Any]) -> None:
        """Append the vector."""
        self._stream.write(vector.tobytes())
        self._rows += 1

    def close(self) -> None:
        """Put the number of rows, known only now, into the header."""
        self._stream.seek(0)
        self._write_header()
        # numpy pads a header so that the first axis may grow; without that it would run into the data.
        if self._stream.tell() != self._data_start:
            raise M3EError("this version of numpy writes .npy headers that cannot grow; write .parquet.")

    def _write_header(self) -> None:
        shape = (self._rows, self._vectors.length)
        descr = np.lib.format.dtype_to_descr(self._vectors.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


class JsonLinesWriter:
    """The fields of each row with the vector added as ``embedding``."""

    def __init__(self, stream: BinaryIO, vectors: VectorType, provenance: Mapping[str, str]) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder()

    def write(self, row: Row, vector: npt.NDArray[Any]) -> None:
        """Write one line."""
        record = {**row.fields, "embedding": vector.tolist()}
        self._stream.write(self._encoder.encode(record) + b"\n")

    def close(self) -> None:
        """Nothing to complete."""


class ParquetWriter:
    """Columns ``text`` and ``embedding``, a fixed-size list; the provenance is in the schema's metadata."""

    def __init__(self, stream: BinaryIO, vectors: VectorType, provenance: Mapping[str, str]) -> None:
        self._arrow = _pyarrow("pyarrow")
        self._vectors = vectors
        self._texts: list[str] = []
        self._rows: list[npt.NDArray[Any]] = []
        self._schema = self._make_schema(provenance)
        # Vectors hardly repeat, so a dictionary of their values would only be built and thrown away.
        self._file = _pyarrow("pyarrow.parquet").ParquetWriter(stream, self._schema, use_dictionary=False)

    def write(self, row: Row, vector: npt.NDArray[Any]) -> None:
        """Add a row; a full row group goes to the file."""
        self._texts.append(row.text)
        self._rows.append(vector)
        if len(self._rows) == _ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> None:
        """Write the last row group and the footer."""
        try:
            if self._rows:
                self._write_group()
        finally:
            self._file.close()

    def _make_schema(self, provenance: Mapping[str, str]) -> Any:
        values = self._arrow.from_numpy_dtype(self._vectors.dtype)
        columns = {"text": self._arrow.string(), "embedding": self._arrow.list_(values, self._vectors.length)}
        metadata = {f"m3e.{name}": value for name, value in provenance.items()}
        return self._arrow.schema(columns, metadata=metadata)

    def _write_group(self) -> None:
        values = self._arrow.array(np.concatenate(self._rows))
        vectors = self._arrow.FixedSizeListArray.from_arrays(values, self._vectors.length)
        texts = self._arrow.array(self._texts, self._arrow.string())
        self._file.write_table(self._arrow.table([texts, vectors], schema=self._schema))
        self._texts.clear()
        self._rows.clear()


_WRITERS: dict[str, Callable[[BinaryIO, VectorType, Mapping[str, str]], Writer]] = {
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
    ".jsonl": JsonLinesWriter,
}


def check_output(output: str, force: bool) -> None:
    """Find out before any work whether ``output`` can be written.

    Raises:
        OptionError: an unknown suffix, no such folder, or it exists and ``force`` is not set.
        EngineMissingError: Parquet without pyarrow.
    """
    if output == STANDARD_OUTPUT:
        return
    target = Path(output)
    if _suffix(output) not in _WRITERS:
        raise OptionError(f"{output}: unknown suffix; use one of {', '.join(_WRITERS)}, or - for JSON Lines.")
    if target.is_dir():
        raise OptionError(f"{output}: is a folder; name a file with -o.")
    if not target.parent.is_dir():
        raise OptionError(f"{output}: there is no folder {target.parent}; make it first.")
    if os.path.lexists(target) and not force:
        raise OptionError(f"{output}: exists; add --force to replace it, or choose another file with -o.")
    if _suffix(output) == ".parquet":
        _pyarrow("pyarrow.parquet")


def make_writer(
    output: str, stream: BinaryIO, vectors: VectorType, provenance: Mapping[str, str]
) -> AbstractContextManager[Writer]:
    """The writer for the suffix of ``output``; JSON Lines on standard output. Closed at the block's end.

    Args:
        output: name of the output.
        stream: where to write.
        vectors: the type of all vectors to come.
        provenance: what made the vectors; kept by the formats that have a place for it.
    """
    return contextlib.closing(_WRITERS[_suffix(output)](stream, vectors, provenance))


def open_output(output: str) -> AbstractContextManager[BinaryIO]:
    """Open ``output`` for writing; it appears, or is replaced, when the block ends without error.

    Raises:
        M3EError: it cannot be written, for example because the disk is full.
    """
    return _standard_output() if output == STANDARD_OUTPUT else _atomic_file(Path(output))


@contextlib.contextmanager
def _atomic_file(target: Path) -> Iterator[BinaryIO]:
    # Made by open, not by tempfile, for the usual permissions; beside the target, for an atomic replace.
    temporary = target.with_name(f".m3e-encode-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _unwritable(str(target), error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    stream = sys.stdout.buffer
    try:
        yield stream
        stream.flush()
    except OSError as error:
        # Python flushes what is left once more at exit; that must not fail again and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise _unwritable("standard output", error) from error


def _suffix(output: str) -> str:
    return ".jsonl" if output == STANDARD_OUTPUT else Path(output).suffix.lower()


def _pyarrow(module: str) -> Any:
    """Import only when a Parquet file is asked for: pyarrow is optional."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EngineMissingError(
            "Parquet needs pyarrow: `pip install 'm3e-runtime[parquet]'`; .npy and .jsonl do not."
        ) from error


def _unwritable(name: str, error: OSError) -> M3EError:
    return M3EError(f"{name}: cannot be written ({error.strerror or error}).")
