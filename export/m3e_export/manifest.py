"""The content of a bundle's manifest. :mod:`m3e_export.bundle_writer` writes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import m3e_runtime
from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.token_heads import TokenHeads
from m3e_export.gate import Gate
from m3e_export.score_gate import ScoreGate
from m3e_export.token_gate import GateTokens
from m3e_runtime.manifest import (
    SCHEMA_VERSION,
    Artifact,
    FileEntry,
    GoldenTokens,
    GoldenVectors,
    Manifest,
    Source,
    Tokenization,
)
from m3e_runtime.token_outputs import SparseVector

__all__ = ["make_manifest"]

_GOLDEN_TEXTS = 16


def make_manifest(
    checkpoint: BaseCheckpoint,
    gate: Gate | ScoreGate,
    artifacts: tuple[Artifact, ...],
    tokenizer: FileEntry,
    companions: tuple[FileEntry, ...],
) -> Manifest:
    """Describe a bundle.

    Args:
        checkpoint: what was exported.
        gate: some of its texts and vectors become the golden vectors.
        artifacts: the entries of the artifacts.
        tokenizer: the entry of tokenizer.json.
        companions: the entries of the files for other tools.
    """
    sentence_config = checkpoint.sentence_config
    # Spread over the texts, to include short and long ones.
    chosen = np.linspace(0, len(gate.texts) - 1, min(_GOLDEN_TEXTS, len(gate.texts))).astype(int)
    gives_tokens = any(each.token_fidelity is not None for each in artifacts)
    heads = checkpoint.token_heads if gives_tokens else None
    if isinstance(gate, Gate) and gate.tokens is not None:
        chosen = gate.tokens.places[np.searchsorted(gate.tokens.places, chosen)]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        exporter=f"m3e-runtime {m3e_runtime.__version__}",
        source=_source(checkpoint),
        licence=checkpoint.licence,
        dimension=checkpoint.dimension,
        pooling=sentence_config.pooling,
        normalize=sentence_config.normalize,
        tokenization=Tokenization(
            file=tokenizer,
            max_length=checkpoint.max_length,
            pad_token_id=checkpoint.pad_token_id,
        ),
        similarity=sentence_config.similarity,
        prompts=sentence_config.prompts,
        default_prompt_name=sentence_config.default_prompt_name,
        artifacts=artifacts,
        golden=_golden(gate, chosen, heads),
        files=companions,
        include_prompt=sentence_config.include_prompt,
        route=sentence_config.route,
        truncate_dim=sentence_config.truncated(checkpoint.dimension),
        classification=checkpoint.classification,
        token_outputs=None if heads is None else heads.outputs(),
    )


def _golden(gate: Gate | ScoreGate, chosen: npt.NDArray[np.int64], heads: TokenHeads | None) -> GoldenVectors:
    texts = tuple(gate.texts[place] for place in chosen)
    passages = gate.passages if isinstance(gate, ScoreGate) else ()
    of_pairs = tuple(passages[place] for place in chosen) if passages else ()
    tokens = None if heads is None or isinstance(gate, ScoreGate) else _golden_tokens(gate.tokens, chosen)
    return GoldenVectors.pack(texts, gate.vectors[chosen], gate.prompt, of_pairs, tokens)


def _golden_tokens(tokens: GateTokens | None, chosen: npt.NDArray[np.int64]) -> GoldenTokens | None:
    if tokens is None:
        return None
    places = np.searchsorted(tokens.places, chosen)
    sparse = [_named(tokens.sparse[at]) for at in places] if tokens.sparse else []
    scores = tokens.max_sim_scores(places)
    rows = [] if scores is None else scores.round(6).tolist()
    return GoldenTokens(tuple(sparse), tuple(map(tuple, rows)))


def _named(vector: SparseVector) -> dict[str, float]:
    return {str(token): weight for token, weight in vector.as_dict().items()}


def _source(checkpoint: BaseCheckpoint) -> Source:
    return Source(
        id=checkpoint.source,
        weights_sha256=checkpoint.weights_sha256,
        model_type=checkpoint.model_type,
        hub=checkpoint.origin.hub,
        revision=checkpoint.origin.revision,
    )
