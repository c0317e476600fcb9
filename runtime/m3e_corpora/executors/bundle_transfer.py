"""Transfer of a bundle to other machines: read into memory here, and installed once on each machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from m3e_runtime.bundle import Bundle
from m3e_runtime.cache import cache_folder
from m3e_runtime.manifest import MANIFEST_NAME

__all__ = ["install_bundle", "read_bundle"]


def read_bundle(path: str | Path, artifact: str | None) -> dict[str, bytes]:
    """Read the files of a bundle: the manifest, the tokenizer, and one artifact, or all if None.

    Returns:
        The content of each file by its name.

    Raises:
        BundleError: the folder is not a bundle.
        BundleIntegrityError: a file differs from the manifest.
    """
    bundle = Bundle.open(path)
    manifest = bundle.manifest
    wanted = [each for each in manifest.artifacts if artifact in (None, each.name)]
    entries = [manifest.tokenization.file, *(file for each in wanted for file in each.files)]
    files = {entry.path: bundle.verify(entry).read_bytes() for entry in entries}
    return files | {MANIFEST_NAME: (bundle.path / MANIFEST_NAME).read_bytes()}


def install_bundle(files: dict[str, bytes]) -> Path:
    """Write the files from :func:`read_bundle` to the user's cache folder, unless they are there already.

    The files are not trusted: loading the bundle checks all of them against the manifest.

    Returns:
        The folder of the bundle.

    Raises:
        OSError: the files cannot be written.
    """
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
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(made, target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _has_all(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether all files exist with their full size. Their hashes are checked when they are loaded."""
    try:
        return all((folder / name).stat().st_size == len(content) for name, content in files.items())
    except OSError:
        return False
