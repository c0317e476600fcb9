"""The gate, with the vectors of the oracle."""

from __future__ import annotations

import numpy as np

from m3e_export.checkpoint.sentence_config import SentenceConfig
from m3e_export.errors import CheckpointError
from m3e_export.gate import Gate
from m3e_export.oracle.choice import Oracle
from m3e_export.texts import gate_texts
from m3e_runtime.progress import progress_bar

__all__ = ["make_gate"]

_PROMPT = "Represent the sentence: "


def make_gate(oracle: Oracle, sentence_config: SentenceConfig, gate: str) -> Gate:
    """The gate called ``gate``, as ``--gate`` takes it, with ``oracle`` as its judge.

    Raises:
        CheckpointError: its file cannot be read, or has too few texts; or the original itself overflows.
    """
    texts, prompt = gate_texts(gate), _prompt_to_judge(sentence_config)
    # Overflow is an error below, with a sentence of its own in place of numpy's warnings.
    quiet = np.errstate(over="ignore", invalid="ignore")
    with quiet, progress_bar(len(texts), "text", f"Original model ({oracle.name.split()[0]})") as bar:
        vectors = oracle.encode(texts, bar.update, prompt)
    if not np.isfinite(vectors).all():
        first = int((~np.isfinite(vectors).all(axis=1)).argmax())
        raise CheckpointError(
            f"the original model gives vectors that are not finite numbers, first for text {first + 1} of "
            "those to judge on; its weights are damaged or it overflows in float32 already."
        )
    vectors = vectors[:, : sentence_config.truncate_dim]  # as sentence-transformers itself has done
    return Gate(texts, oracle.name, vectors, enforced=gate != "off", prompt=prompt)


def _prompt_to_judge(sentence_config: SentenceConfig) -> str:
    """One of the checkpoint's own, if it has any, where the pooling leaves prompts out."""
    if sentence_config.include_prompt:
        return ""
    preferred = sentence_config.prompts.get(sentence_config.default_prompt_name or "", "")
    return preferred or next(filter(None, sentence_config.prompts.values()), _PROMPT)
