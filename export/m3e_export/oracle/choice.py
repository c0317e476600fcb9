"""Choosing the oracle: PyTorch's model, if PyTorch is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.custom_code import only_in_custom_code
from m3e_export.checkpoint import BaseCheckpoint, Checkpoint
from m3e_export.checkpoint.tokenizer import only_bert_vocabulary
from m3e_export.errors import DependencyMissingError, UnsupportedModelError
from m3e_export.oracle.numpy_oracle import NumpyOracle

__all__ = ["Oracle", "OracleName", "ScoreOracle", "load_oracle", "load_score_oracle", "original"]

logger = logging.getLogger(__name__)

_NOT_FOUND = "sentence-transformers does not find these weights; transformers' model is the oracle."

_CUSTOM_CODE = (
    "transformers has no class for this %r model, and the code beside a checkpoint is never run; numpy's "
    "forward pass is the oracle."
)

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


class ScoreOracle(Protocol):
    """The original reranker or classifier. The manifest records its ``name``."""

    name: str

    def logits(
        self, texts: Sequence[str], passages: Sequence[str], tick: Callable[[int], object]
    ) -> npt.NDArray[np.float32]:
        """Logits of ``texts``, or of pairs with ``passages`` if there are any, float32 ``[n, labels]``.

        ``tick`` is called with 1 after each text or pair.
        """
        ...


def load_oracle(checkpoint: Checkpoint, name: OracleName = "auto", max_length: int | None = None) -> Oracle:
    """The oracle for ``checkpoint``. ``auto`` uses PyTorch and transformers if they can load it.

    ``max_length`` replaces the checkpoint's longest input.

    Raises:
        CheckpointError: the original library cannot load the checkpoint.
        DependencyMissingError: ``name`` is ``torch``, and torch is not installed.
        UnsupportedModelError: ``name`` is ``torch``, and only code beside the checkpoint could load it.
    """
    if checkpoint.sentence_config.multi_vector is not None:
        from m3e_export.oracle.multi_vector_oracle import load_multi_vector_oracle

        return load_multi_vector_oracle(checkpoint, name)
    if checkpoint.sentence_config.splade is not None:
        from m3e_export.oracle.sparse_oracle import load_sparse_oracle

        return load_sparse_oracle(checkpoint, name)
    return original(checkpoint, max_length) if _in_pytorch(checkpoint, name) else NumpyOracle(checkpoint)


def load_score_oracle(
    checkpoint: Checkpoint, name: OracleName = "auto", max_length: int | None = None
) -> ScoreOracle:
    """As :func:`load_oracle`, for a reranker or classifier.

    sentence-transformers' CrossEncoder is the oracle. If it is not installed, does not find the weights, or
    makes another tokenizer than the authors (see :func:`original`), transformers' model is.
    """
    if not _in_pytorch(checkpoint, name):
        return NumpyOracle(checkpoint)
    bert = only_bert_vocabulary(checkpoint.sentence_config.tokenizer, checkpoint.model_type)
    if not bert and _has("sentence_transformers"):
        from m3e_export.oracle.cross_encoder_oracle import CrossEncoderOracle

        oracle = CrossEncoderOracle(checkpoint, max_length)
        if oracle.has_weights:
            return oracle
        logger.warning(_NOT_FOUND)
    from m3e_export.oracle.torch_score_oracle import TorchScoreOracle

    return TorchScoreOracle(checkpoint)


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
        logger.warning(_NOT_FOUND)
    from m3e_export.oracle.torch_oracle import TorchOracle

    return TorchOracle(checkpoint, model)


def _in_pytorch(checkpoint: Checkpoint, name: OracleName) -> bool:
    """Whether the oracle is the model in PyTorch. The errors are those of :func:`load_oracle`."""
    if name == "numpy":
        return False
    installed = _has("torch", "transformers")
    if name == "torch" and not installed:
        raise DependencyMissingError("--oracle torch needs `pip install 'm3e-runtime[torch]'`.")
    if not only_in_custom_code(checkpoint.config):
        return installed
    if name == "torch":
        raise UnsupportedModelError(
            f"--oracle torch: transformers has no class for this {checkpoint.model_type!r} model, and the "
            "code beside a checkpoint is never run; use --oracle numpy."
        )
    logger.warning(_CUSTOM_CODE, checkpoint.model_type)
    return False


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
