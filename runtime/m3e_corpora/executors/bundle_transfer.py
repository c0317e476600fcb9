"""A bundle on its way to other machines: packed into bytes, and unpacked once on each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["pack_bundle", "unpack_bundle"]


def pack_bundle(path: str | Path, artifact: str | None) -> dict[str, bytes]:
    """Manifest, tokenizer and one artifact (None: all of them) as file names and contents.

    Raises:
        BundleError: not a bundle.
        BundleIntegrityError: a file is not the one that was exported.
    """
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    wanted = [each for each in manifest.artifacts if artifact in (None, each.name)]
    entries = [manifest.tokenization.file, *(file for each in wanted for file in each.files)]
    files = {entry.path: bundle.verify(entry).read_bytes() for entry in entries}
    return files | {MANIFEST_NAME: (bundle.path / MANIFEST_NAME).read_bytes()}


def unpack_bundle(files: dict[str, bytes]) -> Path:
    """A folder with the files that :func:`pack_bundle` gave; another process may have made it before.

    It is in the user's cache folder, and loading it checks every file against the manifest.

    Raises:
        OSError: it cannot be written.
    """
    from m3e_runtime.cache import cache_folder

    names = "\n".join(sorted(files)).encode()
    key = hashlib.sha256(files[MANIFEST_NAME] + names).hexdigest()[:32]
    target = cache_folder() / "bundles" / key
    if target.is_dir():
        if _has_all(target, files):
            return target
        shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for name, content in files.items():
            file = made / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        with contextlib.suppress(OSError):  # somebody else's is there now
            os.rename(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _has_all(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether the files are there in full length; their hashes are looked at when they are loaded."""
    try:
        return all((folder / name).stat().st_size == len(content) for name, content in files.items())
    except OSError:
        return False
