"""A module that a JSON file of sentence-transformers names: what class it is, and where its files lie."""

from __future__ import annotations

from pathlib import Path

from m3e_export.errors import UnsupportedModelError, UntrustedCheckpointError

__all__ = ["ModuleEntry", "read_entry"]

ModuleEntry = tuple[str, Path]
"""The name of the module's class, and its folder."""

_OTHER_MODELS = ("cross_encoder", "sparse_encoder", "multi_vector_encoder")


def read_entry(file: Path, root: Path, folder: Path, kind: str, path: str) -> ModuleEntry:
    """The module of type ``kind`` at ``path`` in ``folder``.

    Args:
        file: that names it, for messages.
        root: the checkpoint's folder, which it may not lie outside of.
        folder: which ``path`` is relative to.
        kind: with the Python module that defines it.
        path: its folder.

    Raises:
        UnsupportedModelError: custom code, or a module of another kind of model.
        UntrustedCheckpointError: a path that leads out of ``root``.
    """
    if not kind.startswith("sentence_transformers."):
        raise UnsupportedModelError(
            f"{file}: the module type {kind!r} is custom code, which is never run; "
            "only modules of sentence-transformers are supported."
        )
    if kind.split(".")[1] in _OTHER_MODELS:
        raise UnsupportedModelError(f"{file}: the module type {kind!r} is not of a SentenceTransformer.")
    target = folder / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise UntrustedCheckpointError(f"{file}: the module path {path!r} leads out of the checkpoint.")
    return kind.rsplit(".", 1)[-1], target
