"""How close sparse vectors and multi-vectors are, for people and for programs."""

from __future__ import annotations

from typing import Any

import msgspec

from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import Artifact, TokenFidelity

__all__ = ["token_json", "token_lines"]


def token_lines(bundle: Bundle) -> list[str]:
    """A line for each artifact with outputs of tokens, for the table that ``m3e-export`` prints."""
    return [
        f"{artifact.name:<16}{'; '.join(_words(artifact.token_fidelity))}"
        for artifact in bundle.manifest.artifacts
        if artifact.token_fidelity is not None
    ]


def token_json(artifact: Artifact) -> dict[str, Any]:
    """The entry of ``m3e-export --json``; empty without outputs of tokens."""
    found = artifact.token_fidelity
    if found is None:
        return {}
    measures = msgspec.to_builtins(found)
    del measures["thresholds"]  # they are in the manifest
    return {"token_fidelity": measures}


def _words(found: TokenFidelity) -> list[str]:
    words = []
    if (sparse := found.sparse) is not None:
        words.append(
            f"sparse: cos mean {sparse.mean_cosine:.6f} min {sparse.min_cosine:.5f}, "
            f"top-100 {sparse.top_100:.4f}"
        )
    if (vectors := found.multi_vector) is not None:
        words.append(f"multi-vector: MaxSim order kept {vectors.order_kept:.4f}")
    return words
