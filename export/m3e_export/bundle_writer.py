"""Writing a bundle folder: complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.companions import write_companions
from m3e_export.errors import OptionError, OutputError
from m3e_export.folders import made_folder
from m3e_export.gate import Gate
from m3e_export.manifest import make_manifest
from m3e_export.score_gate import ScoreGate
from m3e_runtime.bundle import sha256_of
from m3e_runtime.manifest import MANIFEST_NAME, Artifact, FileEntry, Manifest

__all__ = ["entry_of", "prepared_folder", "write_bundle", "write_manifest"]


@contextmanager
def prepared_folder(target: Path, force: bool) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``, and rename it to ``target`` when the block succeeds.

    An OSError in the block is taken for an error of writing: functions that read raise errors of their own.

    Raises:
        OptionError: ``target`` exists and is not a bundle, or ``force`` is not set.
        OutputError: ``target`` cannot be written. Nothing is left behind.
    """
    try:
        _check_target(target, force)
        with made_folder(target.parent), _work_folder(target) as work:
            yield work
            work.chmod(0o755)
            _replace(work, target)
    except OSError as error:
        raise OutputError.of(target, error) from error
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("no file was written")
        raise


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    # A short name: the target's may have the maximum length already.
    work = Path(tempfile.mkdtemp(prefix=f".{target.name[:32]}-", dir=target.parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_target(target: Path, force: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST_NAME).is_file():
        raise OptionError(f"{target}: exists and is not a bundle; choose another folder with -o.")
    if not force:
        raise OptionError(f"{target}: exists; add --force to replace it, or choose another folder with -o.")


def _replace(work: Path, target: Path) -> None:
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name[:32]}-old-", dir=target.parent))
        try:
            os.replace(target, old / "bundle")
            os.replace(work, target)
        except BaseException:
            if not target.exists():
                os.replace(old / "bundle", target)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(work, target)


def entry_of(folder: Path, file: Path) -> FileEntry:
    """The manifest's entry for ``file`` in ``folder``."""
    return FileEntry(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_of(file))


def write_bundle(
    folder: Path,
    checkpoint: BaseCheckpoint,
    gate: Gate | ScoreGate,
    artifacts: tuple[Artifact, ...],
    *,
    companions: bool = True,
) -> None:
    """Complete the bundle in ``folder``, which holds the artifacts. The manifest is written last.

    Args:
        folder: the bundle's.
        checkpoint: what was exported.
        gate: what the artifacts were judged against.
        artifacts: their entries.
        companions: also write the files for other tools, which need a graph that outputs token states.
    """
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(checkpoint.tokenizer.to_str(pretty=False), encoding="utf-8")
    others = write_companions(folder, checkpoint) if companions else []
    entries = tuple(entry_of(folder, file) for file in others)
    manifest = make_manifest(checkpoint, gate, artifacts, entry_of(folder, tokenizer), entries)
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
