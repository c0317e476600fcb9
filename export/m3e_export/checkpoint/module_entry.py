"""A module in a JSON file of sentence-transformers: its class and its folder."""

from __future__ import annotations

from pathlib import Path

from m3e_export.errors import UnsupportedModelError, UntrustedCheckpointError

__all__ = ["ModuleEntry", "read_entry"]

ModuleEntry = tuple[str, Path]
"""The name of the class and the folder."""

_OTHER_MODELS = ("cross_encoder", "sparse_encoder")
_OF_SPARSE_ENCODERS = ("MLMTransformer", "SparseStaticEmbedding", "SpladePooling")
"""Classes that no other model has; those who read lists of modules check what fits."""


def read_entry(file: Path, root: Path, folder: Path, kind: str, path: str) -> ModuleEntry:
    """The module of type ``kind`` at ``path`` in ``folder``.

    Args:
        file: the JSON file, for messages.
        root: the checkpoint's folder, which must contain the module.
        folder: the folder that ``path`` is relative to.
        kind: the class with its Python module.
        path: the module's folder.

    Raises:
        UnsupportedModelError: the class is custom code or belongs to another kind of model.
        UntrustedCheckpointError: the path leads out of ``root``.
    """
    if not kind.startswith("sentence_transformers."):
        raise UnsupportedModelError(
            f"{file}: the module type {kind!r} is custom code, which is never run; "
            "only modules of sentence-transformers are supported."
        )
    name = kind.rsplit(".", 1)[-1]
    if kind.split(".")[1] in _OTHER_MODELS and name not in _OF_SPARSE_ENCODERS:
        raise UnsupportedModelError(
            f"{file}: the module type {kind!r} does not belong to a SentenceTransformer."
        )
    target = folder / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise UntrustedCheckpointError(f"{file}: the module path {path!r} leads out of the checkpoint.")
    return name, target
