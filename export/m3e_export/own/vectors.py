"""The vectors of a written artifact, or of its twin where the artifact needs a GPU."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import Checkpoint
from m3e_export.checkpoint.token_heads import TokenHeads
from m3e_export.inputs import ModelInputs
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.targets import Target
from m3e_export.token_gate import GateTokens
from m3e_runtime.backends import OutputsBackend
from m3e_runtime.late_interaction import (
    Task,
    attended_lengths,
    expanded,
    prompt_name_of_task,
    settings_of_task,
)
from m3e_runtime.manifest import MultiVectorOutput
from m3e_runtime.planning import plan_packed
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.token_outputs import SparseVector, finish_tokens
from m3e_runtime.tokenization import TokenIds

__all__ = ["Vectors", "artifact_tokens", "artifact_vectors", "twin_vectors"]

Vectors = npt.NDArray[np.float32]

_TOKENS = 2048
"""Tokens of the texts that run together, so that an engine reads its weights less often."""


def artifact_vectors(
    target: Target, file: Path, inputs: ModelInputs, label: str | None, prompt_length: int = 0
) -> Vectors:
    """Run a written artifact on every text; float32 ``[n, dimension]``.

    The texts run one at a time, as in a service, unless the engine gives the same bytes in every batch.

    Args:
        target: what the artifact is for.
        file: the artifact.
        inputs: token ids of each text or pair.
        label: of the progress bar; None shows none.
        prompt_length: tokens at the start of each text that the pooling leaves out.
    """
    engine = target.load(file, available_threads(), inputs.types is not None)
    most = None if target.batch_invariant and not engine.pads else 1
    order, vectors = [], []
    with progress_bar(len(inputs), "text", label or "", show=None if label else False) as bar:
        for batch in plan_packed(inputs.lengths, _TOKENS, most):
            prompts = [prompt_length] * len(batch.indices) if prompt_length else None
            here = inputs.at(batch.indices)
            vectors.append(engine.run(here.ids, prompts, here.types))
            order.append(batch.indices)
            bar.update(len(batch.indices))
    return np.concatenate(vectors)[np.argsort(np.concatenate(order))]


def artifact_tokens(
    target: Target,
    file: Path,
    checkpoint: Checkpoint,
    texts: Sequence[str],
    heads: TokenHeads,
    gate: GateTokens,
) -> GateTokens:
    """Run a written artifact on the texts of ``gate``; return its outputs of tokens.

    Args:
        target: what the artifact is for; its engine gives outputs of tokens.
        file: the artifact.
        checkpoint: has the tokenizer, and the prompts of queries and documents.
        texts: all texts of the gate.
        heads: the checkpoint's.
        gate: the oracle's outputs.
    """
    engine = target.load(file, available_threads())
    if not isinstance(engine, OutputsBackend):
        raise TypeError(f"{engine.name} gives no outputs of tokens")
    some = [texts[at] for at in gate.places]
    if heads.query is None:
        return GateTokens.of(gate.places, *_tokens_of_task(engine, checkpoint, some, heads, None))
    _, queries = _tokens_of_task(engine, checkpoint, some, heads, "query")
    sparse, documents = _tokens_of_task(engine, checkpoint, some, heads, "document")
    return GateTokens.of(gate.places, sparse, documents, queries)


def _tokens_of_task(
    engine: OutputsBackend,
    checkpoint: Checkpoint,
    texts: Sequence[str],
    heads: TokenHeads,
    task: Task | None,
) -> tuple[list[SparseVector | None], list[Vectors | None]]:
    """The sparse vectors and the multi-vectors of texts."""
    given = heads.outputs()
    token_ids = _token_ids(checkpoint, texts, given.multi_vector, task)
    finished: dict[int, tuple[SparseVector | None, Vectors | None]] = {}
    for batch in plan_packed(np.array([len(ids) for ids in token_ids]), _TOKENS):
        ids = [token_ids[at] for at in batch.indices]
        attended = attended_lengths(ids, given.multi_vector)
        wanted = heads.gives_sparse, heads.multi_vector is not None
        _, found = engine.run_outputs(ids, None, *wanted, attended)
        both = (finish_tokens(each, result, given, task) for each, result in zip(ids, found, strict=True))
        finished.update(zip(batch.indices.tolist(), both, strict=True))
    pairs = [finished[at] for at in range(len(texts))]
    return [sparse for sparse, _ in pairs], [vectors for _, vectors in pairs]


def _token_ids(
    checkpoint: Checkpoint, texts: Sequence[str], given: MultiVectorOutput | None, task: Task | None
) -> list[TokenIds]:
    tokenizer, settings = checkpoint.text_tokenizer(), settings_of_task(given, task)
    if task is None or settings is None:
        return tokenizer.encode_batch(texts)
    name = prompt_name_of_task(checkpoint.sentence_config.prompts, task)
    prompt = checkpoint.sentence_config.prompts[name] if name is not None else ""
    token_ids = tokenizer.limited(settings.max_length).encode_batch([prompt + text for text in texts])
    return expanded(token_ids, settings.expansion)


def twin_vectors(
    target: Target,
    checkpoint: Checkpoint,
    plan: PrecisionPlan,
    folder: Path,
    inputs: ModelInputs,
    label: str | None,
) -> Vectors:
    """Write the twin of an artifact in ``folder``, run it as :func:`artifact_vectors` does, and remove it."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "twin"
        target.save_twin(checkpoint, plan, file)
        return artifact_vectors(target, file, inputs, label)
