"""The gate with the oracle's vectors or logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint.sentence_config import SentenceConfig
from m3e_export.errors import CheckpointError
from m3e_export.gate import Gate
from m3e_export.oracle.choice import Oracle, ScoreOracle
from m3e_export.score_gate import ScoreGate
from m3e_export.texts import gate_texts
from m3e_export.texts.judged import Judged
from m3e_runtime.progress import progress_bar

__all__ = ["make_gate", "make_score_gate"]

_PROMPT = "Represent the sentence: "


def make_gate(oracle: Oracle, sentence_config: SentenceConfig, gate: str) -> Gate:
    """Run ``oracle`` on the texts of the gate.

    Args:
        oracle: the original model.
        sentence_config: of the checkpoint: its prompts and its dimensions.
        gate: ``default``, ``off``, or a file of texts, as ``--gate`` takes it.

    Raises:
        CheckpointError: the file cannot be read or has too few texts, or the oracle overflows.
    """
    texts, prompt = gate_texts(gate), _prompt_to_judge(sentence_config)
    with _running(oracle, len(texts)) as tick:
        vectors = oracle.encode(texts, tick, prompt)
    _check_finite(vectors)
    vectors = vectors[:, : sentence_config.truncate_dim]  # sentence-transformers cuts its own already
    return Gate(texts, oracle.name, vectors, enforced=gate != "off", prompt=prompt)


def make_score_gate(oracle: ScoreOracle, judged: Judged, enforced: bool) -> ScoreGate:
    """Run ``oracle`` on the texts or pairs of the gate.

    Raises:
        CheckpointError: the oracle overflows.
    """
    with _running(oracle, len(judged.texts)) as tick:
        logits = oracle.logits(judged.texts, judged.passages, tick)
    _check_finite(logits)
    return ScoreGate(judged.texts, judged.passages, oracle.name, logits, enforced)


@contextmanager
def _running(oracle: Oracle | ScoreOracle, texts: int) -> Iterator[Callable[[int], object]]:
    """Show a progress bar, without numpy's warnings: overflow raises an error after the run."""
    quiet = np.errstate(over="ignore", invalid="ignore")
    with quiet, progress_bar(texts, "text", f"Original model ({oracle.name.split()[0]})") as bar:
        yield bar.update


def _check_finite(vectors: npt.NDArray[np.float32]) -> None:
    if not np.isfinite(vectors).all():
        first = int((~np.isfinite(vectors).all(axis=1)).argmax())
        raise CheckpointError(
            f"the original model gives vectors that are not finite, first for text {first + 1} of the gate; "
            "its weights are damaged, or it overflows in float32."
        )


def _prompt_to_judge(sentence_config: SentenceConfig) -> str:
    """A prompt to compare with, if the pooling leaves prompts out: the checkpoint's own, if it has one."""
    if sentence_config.include_prompt:
        return ""
    preferred = sentence_config.prompts.get(sentence_config.default_prompt_name or "", "")
    return preferred or next(filter(None, sentence_config.prompts.values()), _PROMPT)
