"""Choosing the oracle: PyTorch's model, if PyTorch is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint, Checkpoint
from m3e_export.checkpoint.tokenizer import only_bert_vocabulary
from m3e_export.errors import DependencyMissingError
from m3e_export.oracle.numpy_oracle import NumpyOracle

__all__ = ["Oracle", "OracleName", "load_oracle", "original"]

logger = logging.getLogger(__name__)

OracleName = Literal["auto", "torch", "numpy"]


class Oracle(Protocol):
    """The original model. The manifest records its ``name``."""

    name: str

    def encode(
        self, texts: Sequence[str], tick: Callable[[int], object], prompt: str = ""
    ) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``, float32 ``[n, dimension]``, with ``prompt`` before each.

        ``tick`` is called with 1 after each text.
        """
        ...

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[npt.NDArray[np.float32]]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        ...


def load_oracle(checkpoint: Checkpoint, name: OracleName = "auto", max_length: int | None = None) -> Oracle:
    """The oracle for ``checkpoint``. ``auto`` uses PyTorch and transformers if they are installed.

    ``max_length`` replaces the checkpoint's longest input.

    Raises:
        CheckpointError: the original library cannot load the checkpoint.
        DependencyMissingError: ``name`` is ``torch``, and torch is not installed.
    """
    installed = _has("torch", "transformers")
    if name == "torch" and not installed:
        raise DependencyMissingError("--oracle torch needs `pip install 'm3e-runtime[torch]'`.")
    return NumpyOracle(checkpoint) if name == "numpy" or not installed else original(checkpoint, max_length)


def original(checkpoint: BaseCheckpoint, max_length: int | None = None, model: Any = None) -> Oracle:
    """The original model in PyTorch, loaded by sentence-transformers if it saved the checkpoint.

    Other checkpoints are loaded by transformers and pooled here: those of uniem, and those with a pooling
    given by the user. So are adapters, for which sentence-transformers needs a recent PEFT, and an ALBERT
    with BERT's vocabulary, from which AutoTokenizer makes a tokenizer of five tokens.

    Args:
        checkpoint: what to load.
        max_length: as for :func:`load_oracle`.
        model: transformers' model, if it is loaded already.

    Raises:
        CheckpointError: the original library cannot load the checkpoint.
    """
    if _is_sentence_transformers_own(checkpoint) and _has("sentence_transformers"):
        from m3e_export.oracle.sentence_transformers_oracle import SentenceTransformersOracle

        oracle = SentenceTransformersOracle(checkpoint, max_length)
        if oracle.has_weights:
            return oracle
        logger.warning(
            "sentence-transformers does not find these weights; transformers' model is the oracle."
        )
    from m3e_export.oracle.torch_oracle import TorchOracle

    return TorchOracle(checkpoint, model)


def _is_sentence_transformers_own(checkpoint: BaseCheckpoint) -> bool:
    sentence_config = checkpoint.sentence_config
    return (
        sentence_config.kind == "sentence-transformers"
        and not sentence_config.pooling_given
        and sentence_config.adapter is None
        and not only_bert_vocabulary(sentence_config.tokenizer, checkpoint.model_type)
    )


def _has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)
