"""Opening a bundle: its manifest, and the verification of its files."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from m3e_runtime import arguments, git_lfs
from m3e_runtime import manifest as schema
from m3e_runtime.errors import BundleError, BundleIntegrityError
from m3e_runtime.manifest import Artifact, FileEntry, Manifest

__all__ = ["Bundle", "sha256_of"]

_MANIFEST_LIMIT = 64 * 1024 * 1024
_BLOCK = 1 << 20
_MOST_TOKENS = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """An exported model on disk. Reading it runs no code and reads no file outside its folder."""

    path: Path
    manifest: Manifest

    @staticmethod
    def open(path: str | bytes | os.PathLike[str]) -> Bundle:
        """Read the manifest of the bundle in folder ``path``. No other file is opened.

        Raises:
            BundleError: no such folder, no manifest, or a manifest of another schema.
            BundleIntegrityError: the manifest names a file outside the folder.
            OptionError: not a path.
        """
        folder = arguments.folder("path", path)
        manifest = _read_manifest(folder)
        bundle = Bundle(folder, manifest)
        for entry in bundle.entries():
            bundle.resolve(entry)
        _check_contents(folder, manifest)
        return bundle

    def entries(self) -> Iterator[FileEntry]:
        """The files that the manifest lists."""
        yield self.manifest.tokenization.file
        yield from self.manifest.files
        for artifact in self.manifest.artifacts:
            yield from artifact.files

    def resolve(self, entry: FileEntry) -> Path:
        """Path of ``entry`` on disk.

        Raises:
            BundleIntegrityError: the path, or a link on the way, leads out of the folder.
        """
        relative = PurePosixPath(entry.path)
        if relative.is_absolute() or ".." in relative.parts or "\\" in entry.path or not relative.parts:
            raise BundleIntegrityError(
                f"{self.path}: the manifest names {entry.path!r}, which is not inside the bundle; "
                "do not use this bundle."
            )
        file = self.path.joinpath(*relative.parts)
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise BundleIntegrityError(
                f"{file}: a link that leads out of the bundle; do not use this bundle."
            )
        return file

    def verify(self, entry: FileEntry) -> Path:
        """Check size and SHA-256 of ``entry`` and return its path.

        Raises:
            BundleIntegrityError: missing, or different from what the manifest says.
        """
        file = self.resolve(entry)
        try:
            size = file.stat().st_size
        except OSError as error:
            raise BundleIntegrityError(
                f"{file}: missing or unreadable ({error.strerror}); export or copy the bundle again."
            ) from error
        if git_lfs.is_pointer(file):
            raise BundleIntegrityError(f"{file}: {git_lfs.HINT}.")
        if size != entry.size:
            raise BundleIntegrityError(
                f"{file}: {size} bytes where the manifest says {entry.size}; export or copy the bundle again."
            )
        if _readable_sha256(file) != entry.sha256:
            raise BundleIntegrityError(
                f"{file}: its SHA-256 is not the one in the manifest; export or copy the bundle again."
            )
        return file

    def verify_artifact(self, artifact: Artifact) -> Path:
        """Verify every file of ``artifact``; return the path of its entry point.

        Raises:
            BundleIntegrityError: a file is damaged, or the model's folder has a file that is not listed. An
                engine could read such a file as external weights.
        """
        files = [self.verify(entry) for entry in artifact.files]
        known = {self.resolve(entry) for entry in self.entries()}
        for file in sorted(files[0].parent.rglob("*")):
            if not file.is_dir() and file not in known:
                raise BundleIntegrityError(
                    f"{file}: not named in the manifest; remove it or export the bundle again."
                )
        return files[0]


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content, in lower-case hex."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _readable_sha256(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError as error:
        raise BundleIntegrityError(f"{file}: cannot be read ({error.strerror}).") from error


def _read_manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise BundleError(
            f"{folder}: no such folder. Make a bundle with `m3e-export CHECKPOINT -o {folder}`."
        )
    file = folder / schema.MANIFEST_NAME
    if not file.is_file():
        raise BundleError(
            f"{folder}: not a bundle, it has no {schema.MANIFEST_NAME}. If it is a checkpoint, "
            f"export it first: `m3e-export {folder} -o BUNDLE`."
        )
    if file.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(f"{file}: larger than any manifest; export the bundle again.")
    if git_lfs.is_pointer(file):
        raise BundleError(f"{file}: {git_lfs.HINT}.")
    try:
        data = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror}).") from error
    _check_version(file, data)
    try:
        return schema.decode(data)
    except msgspec.DecodeError as error:
        raise BundleError(f"{file}: not a valid manifest ({error}); export the bundle again.") from error


def _check_version(file: Path, data: bytes) -> None:
    """Distinguish a manifest of a newer version from a broken one before it is decoded."""
    try:
        version = json.loads(data).get("schema_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BundleError(f"{file}: not a JSON object ({error}); export the bundle again.") from error
    if version != schema.SCHEMA_VERSION:
        raise BundleError(
            f"{file}: schema version {version!r}, this runtime reads {schema.SCHEMA_VERSION}. "
            "Upgrade m3e-runtime or export the bundle again."
        )


def _check_contents(folder: Path, manifest: Manifest) -> None:
    """Check the relations between fields, which types do not express."""
    if problem := next(_problems(manifest), None):
        raise BundleError(f"{folder / schema.MANIFEST_NAME}: {problem}; export the bundle again.")


def _problems(manifest: Manifest) -> Iterator[str]:
    yield from _problems_of_sizes(manifest)
    yield from _problems_of_artifacts(manifest)
    yield from _problems_of_tokens(manifest)
    if manifest.default_prompt_name is not None and manifest.default_prompt_name not in manifest.prompts:
        yield f"default prompt {manifest.default_prompt_name!r} without a text"
    if len(manifest.golden.passages) not in (0, len(manifest.golden.texts)):
        yield "more or fewer golden passages than texts"
    try:
        manifest.golden.unpack(manifest.output_dimension)
    except ValueError:
        yield "golden vectors of another shape than dimension and texts say"


def _problems_of_sizes(manifest: Manifest) -> Iterator[str]:
    if not 1 <= manifest.dimension <= 1 << 16:
        yield f"dimension {manifest.dimension}"
    if manifest.truncate_dim is not None and not 1 <= manifest.truncate_dim <= manifest.dimension:
        yield f"truncate_dim {manifest.truncate_dim} of {manifest.dimension} dimensions"
    if not 1 <= manifest.tokenization.max_length <= _MOST_TOKENS:
        yield f"max_length {manifest.tokenization.max_length}"
    labelled = manifest.classification
    if labelled is not None and len(labelled.labels) != manifest.dimension:
        yield f"{len(labelled.labels)} labels for {manifest.dimension} logits"


def _problems_of_tokens(manifest: Manifest) -> Iterator[str]:
    given, golden = manifest.token_outputs or schema.TokenOutputs(), manifest.golden.tokens
    vectors = given.multi_vector
    if vectors is not None and not (1 <= vectors.dimension <= 1 << 16 and vectors.left_out >= 0):
        yield f"multi-vectors of {vectors.dimension} dimensions without the first {vectors.left_out}"
    if vectors is not None:
        yield from _problems_of_tasks(vectors)
    if golden is None:
        return
    count = len(manifest.golden.texts)
    if any(len(rows) not in (0, count) for rows in (golden.sparse, golden.max_sim, *golden.max_sim)):
        yield "more or fewer golden outputs of tokens than texts"


def _problems_of_tasks(vectors: schema.MultiVectorOutput) -> Iterator[str]:
    if (vectors.query is None) != (vectors.document is None):
        yield "settings of queries or of documents only"
    for settings in filter(None, (vectors.query, vectors.document)):
        added = settings.expansion
        if not 1 <= settings.max_length <= _MOST_TOKENS:
            yield f"max_length {settings.max_length} of a task"
        if added is not None and not (1 <= added.length <= _MOST_TOKENS and 0 <= added.token_id < 1 << 31):
            yield f"an expansion to {added.length} tokens with the token {added.token_id}"


def _problems_of_artifacts(manifest: Manifest) -> Iterator[str]:
    if not manifest.artifacts or any(not artifact.files for artifact in manifest.artifacts):
        yield "no artifact, or one without files"
    for artifact in manifest.artifacts:
        if artifact.format == "tensorrt" and len(artifact.files) < 2:
            yield "an engine without the graph that it was built from"
        measured = artifact.score_fidelity if manifest.classification else artifact.fidelity
        if measured is None:
            yield f"the artifact {artifact.name!r} has no measured fidelity"
