"""A job: everything that determines the bytes of an output."""

from __future__ import annotations

import hashlib

import msgspec

from m3e_corpora.inputs.columns import Columns
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.job.policies import OverLong
from m3e_corpora.outputs.vectors import VectorSpec
from m3e_runtime.bundle import Bundle
from m3e_runtime.chunking import ChunkOptions
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["BundleId", "Job", "provenance"]


class BundleId(msgspec.Struct, frozen=True):
    """Which model computes the vectors.

    The SHA-256 of the manifest identifies all files of the bundle: the manifest contains their hashes.
    """

    source: str
    weights_sha256: str
    manifest_sha256: str
    artifact: str
    similarity: str

    @staticmethod
    def of(bundle: Bundle, artifact: str) -> BundleId:
        """Identify an artifact of an open bundle."""
        manifest = bundle.manifest
        digest = hashlib.sha256((bundle.path / MANIFEST_NAME).read_bytes()).hexdigest()
        source = manifest.source
        return BundleId(source.id, source.weights_sha256, digest, artifact, manifest.similarity)


class Job(msgspec.Struct, frozen=True):
    """What must be the same when a job is resumed.

    Attributes:
        runtime: version of this package; another version may round differently.
        bundle: the model.
        inputs: the input files.
        columns: the columns that are read and kept.
        vectors: the type of the stored vectors.
        prompt: the prompt before each text.
        over_long: what happens to texts that are too long.
        batch_size: largest number of texts in a batch.
        part_format: format of the parts.
        chunking: the length of chunks, if ``over_long`` is ``chunk``.
        task: what the texts are, for models that encode queries and documents differently.
    """

    runtime: str
    bundle: BundleId
    inputs: tuple[InputFile, ...]
    columns: Columns
    vectors: VectorSpec
    prompt: str
    over_long: OverLong
    batch_size: int | None
    part_format: str
    chunking: ChunkOptions | None = None
    task: Task | None = None


def provenance(job: Job) -> dict[str, str]:
    """Describe the model and the meaning of the numbers, for formats that have metadata."""
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
    if vectors.ranges:
        known["ranges"] = vectors.ranges
    return known | ({"task": job.task} if job.task else {})
