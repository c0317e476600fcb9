"""A job: all that decides the bytes of an output, and the partitions that it is done in."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

import m3e_runtime
from m3e_corpora.arrow import import_arrow
from m3e_corpora.encoding.windows import OverLong
from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.inputs.formats import format_of
from m3e_corpora.inputs.rows import Rows
from m3e_corpora.inputs.slice import Partition, into_partitions
from m3e_corpora.outputs.payload import make_beside, pack_schema
from m3e_corpora.outputs.vectors import VectorSpec
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["BundleId", "Job", "Plan", "make_plan", "provenance", "read_partition"]


class BundleId(msgspec.Struct, frozen=True):
    """Which model makes the vectors. The manifest's SHA-256 stands for all files, whose hashes it holds."""

    source: str
    weights_sha256: str
    manifest_sha256: str
    artifact: str
    similarity: str

    @staticmethod
    def of(bundle: Bundle, artifact: str) -> BundleId:
        """That of an opened bundle."""
        manifest = bundle.manifest
        digest = hashlib.sha256((bundle.path / MANIFEST_NAME).read_bytes()).hexdigest()
        source = manifest.source
        return BundleId(source.id, source.weights_sha256, digest, artifact, manifest.similarity)


class Job(msgspec.Struct, frozen=True):
    """What has to be the same for a job to go on; ``output`` is the format of its parts."""

    runtime: str
    bundle: BundleId
    inputs: tuple[InputFile, ...]
    reading: Reading
    vectors: VectorSpec
    prompt: str
    over_long: OverLong
    batch_size: int | None
    output: str


class Plan(msgspec.Struct, frozen=True):
    """The partitions of a job, and the Arrow schema of what is stored beside the vectors, packed."""

    partitions: tuple[Partition, ...]
    schema: str | None


def make_plan(job: Job, target: int) -> Plan:
    """Cut the inputs into partitions of about ``target`` bytes of text.

    Raises:
        OptionError: columns cannot be kept, or have other types in other files.
        UnreadableInputError: a file cannot be read, or has no such column.
    """
    schema = _schema(job) if job.reading.form == "columns" else None
    slices = itertools.chain.from_iterable(
        format_of(file).slices(index, file, job.reading, target) for index, file in enumerate(job.inputs)
    )
    return Plan(tuple(into_partitions(slices, target)), schema)


def read_partition(job: Job, plan: Plan, partition: Partition) -> Iterator[Rows]:
    """The rows of a partition.

    Raises:
        UnreadableInputError: an input cannot be read, or has changed.
    """
    beside = make_beside(job.reading, plan.schema)
    for piece in partition.slices:
        file = job.inputs[piece.file]
        yield from format_of(file).read(file, piece, job.reading, beside)


def provenance(job: Job) -> dict[str, str]:
    """What made the vectors and what their numbers mean, for formats that have a place for it."""
    bundle, vectors = job.bundle, job.vectors
    known = {
        "source": bundle.source,
        "weights_sha256": bundle.weights_sha256,
        "bundle_sha256": bundle.manifest_sha256,
        "artifact": bundle.artifact,
        "similarity": bundle.similarity,
        "precision": vectors.precision,
        "dimension": str(vectors.dimension),
        "normalized": str(vectors.normalized).lower(),
        "meaning": vectors.meaning,
        "prompt": job.prompt,
    }
    return known | ({"ranges": vectors.ranges} if vectors.ranges else {})


def _schema(job: Job) -> str:
    arrow = import_arrow("Parquet")
    reading = job.reading
    fields = [] if reading.drop_text else [arrow.field(reading.field, arrow.string())]
    if reading.columns:
        fields += _kept_fields(job.inputs, lambda file: format_of(file).fields(file, reading))
    return pack_schema(arrow.schema(fields))


def _kept_fields(inputs: tuple[InputFile, ...], fields_of: Callable[[InputFile], list[Any]]) -> list[Any]:
    """The fields of the first file, with which the others have to agree."""
    first = fields_of(inputs[0])
    for file in inputs[1:]:
        if not format_of(file).declares_types:
            continue  # each row is looked at when it is read
        for wanted, found in zip(first, fields_of(file), strict=False):
            if wanted.type != found.type:
                raise OptionError(
                    f"{file.name}: column {found.name!r} is {found.type}, and {wanted.type} in "
                    f"{inputs[0].name}; encode them to outputs of their own."
                )
    return first


def runtime_version() -> str:
    """The version that computes; another one may round differently."""
    return m3e_runtime.__version__
