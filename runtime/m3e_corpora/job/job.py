"""A job: all that decides the bytes of an output, and the partitions that it is done in."""

from __future__ import annotations

import hashlib

import msgspec

from m3e_corpora.inputs.columns import Reading
from m3e_corpora.inputs.find import InputFile
from m3e_corpora.job.policies import OverLong
from m3e_corpora.outputs.vectors import VectorSpec
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["BundleId", "Job", "provenance"]


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
