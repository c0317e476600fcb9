"""The check of an artifact's sparse vectors and multi-vectors against the golden ones."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.hybrid import max_sim_scores, sparse_cosine
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import MAX_SIM_TOKENS, Artifact, GoldenTokens, TokenFidelity
from m3e_runtime.token_outputs import Outputs, SparseVector

__all__ = ["check_token_outputs", "check_tokens_alone"]

_ROUNDING = 1e-4
"""An allowance for the rounding of other processors."""
_SLACK = 1.25
"""The golden texts may be this much farther from the oracle's outputs than the worst text at export."""


def check_tokens_alone(bundle: Bundle, artifact: Artifact, threads: int | None) -> dict[str, Any]:
    """:func:`check_token_outputs` of an artifact whose model has no vectors of texts."""
    with closing(Encoder.load(bundle.path, artifact=artifact.name, threads=threads, verify=False)) as encoder:
        tokens = check_token_outputs(encoder)
    return {
        "name": artifact.name,
        "passed": tokens is not None and tokens["passed"],
        "texts": len(bundle.manifest.golden.texts),
        "token_outputs": tokens or {},
    }


def check_token_outputs(encoder: Encoder) -> dict[str, Any] | None:
    """Compare the outputs of tokens for the golden texts with the stored ones.

    Returns:
        None if the artifact has no such outputs. Otherwise ``passed``, and for each output that the model has
        its worst measure and the bound for it.
    """
    golden, measured = encoder.bundle.manifest.golden, encoder.artifact.token_fidelity
    if golden.tokens is None or measured is None:
        return None
    has_tasks = _has_tasks(encoder)
    found = _encoded(encoder, golden.texts, "document" if has_tasks else None)
    queries = _encoded(encoder, golden.texts, "query") if has_tasks else found
    result = {
        **_sparse(found, golden.tokens, measured),
        **_multi_vector(queries, found, golden.tokens, measured),
    }
    passed = result.get("sparse_min_cosine", 1.0) >= result.get("sparse_floor", 0.0) and (
        result.get("max_sim_difference", 0.0) <= result.get("max_sim_ceiling", 0.0)
    )
    return {"passed": bool(passed), **result}


def _has_tasks(encoder: Encoder) -> bool:
    given = encoder.bundle.manifest.multi_vector
    return given is not None and given.query is not None


def _encoded(encoder: Encoder, texts: Sequence[str], task: Task | None) -> Outputs:
    outputs = [name for name in encoder.given_outputs() if name != "dense"]
    found = encoder.encode_outputs(list(texts), outputs, prompt=None if task else "", task=task)
    assert isinstance(found, Outputs)  # noqa: S101 - the texts are a list
    return found


def _sparse(found: Outputs, golden: GoldenTokens, measured: TokenFidelity) -> dict[str, float]:
    if found.sparse is None or measured.sparse is None or not golden.sparse:
        return {}
    expected = [SparseVector.of_dict({int(key): each[key] for key in each}) for each in golden.sparse]
    least = min(sparse_cosine(a, b) for a, b in zip(found.sparse, expected, strict=True))
    floor = 1 - _SLACK * (1 - measured.sparse.min_cosine) - _ROUNDING
    return {"sparse_min_cosine": least, "sparse_floor": floor}


def _multi_vector(
    queries: Outputs, found: Outputs, golden: GoldenTokens, measured: TokenFidelity
) -> dict[str, float]:
    rows, columns = queries.multi_vector, found.multi_vector
    if rows is None or columns is None or measured.multi_vector is None or not golden.max_sim:
        return {}
    scores = max_sim_scores(_first(rows), _first(columns))
    difference = float(np.abs(scores - np.array(golden.max_sim, np.float32)).max())
    ceiling = _SLACK * measured.multi_vector.max_difference + _ROUNDING
    return {"max_sim_difference": difference, "max_sim_ceiling": ceiling}


def _first(multi_vectors: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    return [vectors[:MAX_SIM_TOKENS] for vectors in multi_vectors]
