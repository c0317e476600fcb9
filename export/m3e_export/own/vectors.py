"""The vectors of a written artifact, or of its twin where the artifact needs a GPU."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import Checkpoint
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.targets import Target
from m3e_runtime.progress import progress_bar
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TokenIds

__all__ = ["Vectors", "artifact_vectors", "twin_vectors"]

Vectors = npt.NDArray[np.float32]


def artifact_vectors(
    target: Target, file: Path, token_ids: Sequence[TokenIds], label: str | None, prompt_length: int = 0
) -> Vectors:
    """Run a written artifact on one text at a time, as a service does; float32 ``[n, dimension]``.

    Args:
        target: what the artifact is for.
        file: the artifact.
        token_ids: of each text.
        label: of the progress bar; None shows none.
        prompt_length: tokens at the start of each text that the pooling leaves out.
    """
    engine = target.load(file, available_threads())
    vectors = []
    with progress_bar(len(token_ids), "text", label or "", show=None if label else False) as bar:
        for ids in token_ids:
            vectors.append(engine.run([ids], [prompt_length] if prompt_length else None)[0])
            bar.update()
    return np.stack(vectors)


def twin_vectors(
    target: Target,
    checkpoint: Checkpoint,
    plan: PrecisionPlan,
    folder: Path,
    token_ids: Sequence[TokenIds],
    label: str | None,
) -> Vectors:
    """Write the twin of an artifact in ``folder``, run it as :func:`artifact_vectors` does, and remove it."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "twin"
        target.save_twin(checkpoint, plan, file)
        return artifact_vectors(target, file, token_ids, label)
