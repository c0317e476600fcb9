"""A FAISS index of the vectors. The id of a vector is the number of its row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_corpora.faiss_package import import_faiss
from m3e_corpora.job.job import Job
from m3e_runtime.atomic_file import atomic_file
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import normalize

__all__ = ["check_index", "write_index"]

_PRECISIONS = ("float32", "ubinary")

_TRAINING_ROWS = 1 << 18
"""Most vectors that train an index. FAISS asks for 39 to 256 for each cell, so 4096 cells are possible."""


def check_index(job: Job, factory: str) -> None:
    """Check before any work that an index can be made.

    Args:
        job: a job with ``float32`` vectors, or ``ubinary`` ones for a binary index with Hamming distance.
        factory: a description that ``faiss.index_factory`` takes, such as ``HNSW32`` or ``IVF4096,PQ64``. For
            a binary index one that ``faiss.index_binary_factory`` takes, without the leading B.

    Raises:
        DependencyMissingError: FAISS is not installed.
        OptionError: the precision cannot be used, or FAISS does not understand the description.
    """
    if job.vectors.precision not in _PRECISIONS:
        raise OptionError(
            f"--precision {job.vectors.precision}: a FAISS index takes {' or '.join(_PRECISIONS)}; use "
            "--index SQfp16 or SQ8 to let FAISS quantize."
        )
    _make_index(import_faiss(), job, factory)


def write_index(parts: Sequence[Path], job: Job, factory: str, file: Path) -> None:
    """Train an index if it needs training, add the vectors of all parts, and write it.

    If the model's similarity is cosine, vectors are scaled to unit length: inner products are then cosines.

    Args:
        parts: npy files.
        job: describes the vectors.
        factory: see :func:`check_index`.
        file: the output; an existing file is replaced.

    Raises:
        OptionError: there are too few vectors to train the index.
        OutputError: the file cannot be written.
    """
    faiss = import_faiss()
    index = _make_index(faiss, job, factory)
    bits = job.vectors.precision == "ubinary"
    scale = not bits and job.bundle.similarity == "cosine"
    if not index.is_trained:
        _train(index, np.concatenate(list(_sample(parts, scale))), factory)
    for part in parts:
        index.add(_load(part, scale))
    with atomic_file(file) as stream:
        writer = faiss.PyCallbackIOWriter(stream.write)
        (faiss.write_index_binary if bits else faiss.write_index)(index, writer)
        del writer  # flushes


def _make_index(faiss: Any, job: Job, factory: str) -> Any:
    vectors = job.vectors
    metrics = {"euclidean": faiss.METRIC_L2, "manhattan": faiss.METRIC_L1}
    metric = metrics.get(job.bundle.similarity, faiss.METRIC_INNER_PRODUCT)
    try:
        if vectors.precision == "ubinary":
            return faiss.index_binary_factory(8 * vectors.length, f"B{factory}")
        return faiss.index_factory(vectors.dimension, factory, metric)
    except RuntimeError as error:
        raise OptionError(f"--index {factory}: FAISS cannot make it ({_reason(error)}).") from error


def _train(index: Any, vectors: npt.NDArray[Any], factory: str) -> None:
    try:
        index.train(vectors)
    except RuntimeError as error:
        raise OptionError(
            f"--index {factory}: cannot be trained with {len(vectors)} vectors ({_reason(error)})."
        ) from error


def _sample(parts: Sequence[Path], scale: bool) -> Iterator[npt.NDArray[Any]]:
    """Take vectors evenly from the whole corpus."""
    rows = sum(len(np.load(part, mmap_mode="r")) for part in parts)
    step = max(1, math.ceil(rows / _TRAINING_ROWS))
    for part in parts:
        yield _load(part, scale)[::step]


def _load(part: Path, scale: bool) -> npt.NDArray[Any]:
    vectors = np.load(part, allow_pickle=False)
    return normalize(vectors) if scale else vectors


def _reason(error: Exception) -> str:
    """FAISS's message without the position in its source."""
    return re.split(r"\.cpp:\d+: ", str(error).strip())[-1].rstrip(".")
