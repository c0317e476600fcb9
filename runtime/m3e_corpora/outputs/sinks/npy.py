"""An array that ``numpy.load`` reads, also with ``mmap_mode``: ``[rows, length]``, or scores ``[rows]``."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from m3e_corpora.inputs.rows import Payload
from m3e_corpora.outputs.others import NO_OTHERS, Others
from m3e_corpora.outputs.vectors import VectorSpec
from m3e_runtime.errors import M3EError

__all__ = ["NpySink", "write_npy_header"]


class NpySink:
    """See :class:`m3e_corpora.outputs.sinks.Sink`."""

    def __init__(self, stream: BinaryIO, vectors: VectorSpec) -> None:
        self._stream = stream
        self._vectors = vectors
        self._rows = 0
        write_npy_header(stream, vectors, 0)
        self._data_start = stream.tell()

    def write(self, payload: Payload, vectors: npt.NDArray[Any], others: Others = NO_OTHERS) -> None:
        """Append vectors."""
        del payload, others
        self._stream.write(np.ascontiguousarray(vectors, self._vectors.dtype).data)
        self._rows += len(vectors)

    def close(self) -> None:
        """Write the number of rows, which is known only now, into the header."""
        self._stream.seek(0)
        write_npy_header(self._stream, self._vectors, self._rows)
        # numpy pads the header so that the first axis can grow. Without padding it would overwrite data.
        if self._stream.tell() != self._data_start:
            raise M3EError(
                "this version of numpy writes .npy headers that cannot grow; choose an output of .parquet."
            )
        self._stream.seek(0, 2)


def write_npy_header(stream: BinaryIO, vectors: VectorSpec, rows: int) -> None:
    """Write the header of an array of ``rows`` vectors."""
    header = {
        "descr": np.lib.format.dtype_to_descr(vectors.dtype),
        "fortran_order": False,
        "shape": (rows,) if vectors.is_number else (rows, vectors.length),
    }
    np.lib.format.write_array_header_1_0(stream, header)
