"""The linear layers that give each token a weight and a vector: those of bge-m3, and of MultiVectorEncoders.

Sources of the former: ``FlagEmbedding/finetune/embedder/encoder_only/m3/modeling.py`` (the formulas) and
``FlagEmbedding/inference/embedder/encoder_only/m3.py`` (the tokens left out) of
https://github.com/FlagOpen/FlagEmbedding; the paper is https://arxiv.org/abs/2402.03216.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from m3e_export.checkpoint.jsonfile import refuse_pointer
from m3e_export.checkpoint.splade import TermHead
from m3e_export.checkpoint.weights import read_tensors
from m3e_export.errors import CheckpointError
from m3e_export.hubs.wanted import HEAD_FILES
from m3e_runtime.manifest import MultiVectorOutput, SparseOutput, TaskSettings, TokenOutputs

__all__ = ["TokenHeads", "TokenLinear", "has_token_heads", "read_token_heads"]

Array = npt.NDArray[np.float32]

_SPARSE, _MULTI_VECTOR = HEAD_FILES
_WIDEST = 1 << 16  # the limit of the native engine
_LEFT_OUT = ("cls_token", "eos_token", "pad_token", "unk_token")
"""The special tokens that have no sparse weight: FlagEmbedding's ``unused_tokens``."""


@dataclass(frozen=True)
class TokenLinear:
    """A linear layer: float32 ``[hidden, outputs]`` and ``[outputs]``."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class TokenHeads:
    """The layers of a checkpoint, and which tokens are left out.

    ``sparse`` gives a weight, which is then at least zero; ``multi_vector`` a vector, which is then scaled to
    unit length if ``unit_length``. ``left_out`` are token ids without a weight. The first
    ``first_left_out`` tokens have no vector. Late-interaction models have ``query`` and ``document``.
    ``terms`` gives the sparse vector of a SparseEncoder, in place of ``sparse``. ``dense`` says whether there
    also is a vector of a text.
    """

    sparse: TokenLinear | None
    multi_vector: TokenLinear | None
    left_out: tuple[int, ...]
    unit_length: bool
    first_left_out: int = 1
    query: TaskSettings | None = None
    document: TaskSettings | None = None
    dense: bool = True
    terms: TermHead | None = None

    @property
    def gives_sparse(self) -> bool:
        """Whether there is a sparse vector."""
        return self.sparse is not None or self.terms is not None

    def outputs(self) -> TokenOutputs:
        """What the manifest says about them."""
        sparse = SparseOutput(self.left_out) if self.gives_sparse else None
        return TokenOutputs(sparse, self._vectors(), self.dense)

    def _vectors(self) -> MultiVectorOutput | None:
        if self.multi_vector is None:
            return None
        size = len(self.multi_vector.bias)
        return MultiVectorOutput(size, self.first_left_out, self.query, self.document)


def has_token_heads(folder: Path) -> bool:
    """Whether the checkpoint in ``folder`` has any of the layers."""
    return any((folder / name).is_file() for name in HEAD_FILES)


def read_token_heads(
    folder: Path, hidden: int, normalize: bool, tokenizer: Tokenizer, special_tokens: Mapping[str, str]
) -> TokenHeads | None:
    """The layers beside the checkpoint's weights; None if there are none.

    Args:
        folder: the checkpoint's folder.
        hidden: width of the token states.
        normalize: whether sentence vectors have unit length. Vectors of tokens have it then, too.
        tokenizer: the checkpoint's.
        special_tokens: roles of special tokens, such as ``cls_token``.

    Raises:
        CheckpointError: a file is damaged, or has other tensors than a linear layer of this width.
        UntrustedCheckpointError: a file contains other things than tensors.
        DependencyMissingError: torch, which reads the files, is not installed.
    """
    if not has_token_heads(folder):
        return None
    sparse, vectors = _read(folder / _SPARSE, hidden), _read(folder / _MULTI_VECTOR, hidden)
    if sparse is not None and len(sparse.bias) != 1:
        raise CheckpointError(f"{folder / _SPARSE}: gives {len(sparse.bias)} numbers; a weight is one.")
    ids = {tokenizer.token_to_id(special_tokens[role]) for role in _LEFT_OUT if role in special_tokens}
    return TokenHeads(sparse, vectors, tuple(sorted(each for each in ids if each is not None)), normalize)


def _read(file: Path, hidden: int) -> TokenLinear | None:
    if not file.is_file():
        return None
    refuse_pointer(file)
    tensors = dict(read_tensors(file))
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if tensors.keys() != {"weight", "bias"} or weight is None or bias is None:
        found = ", ".join(sorted(tensors)) or "no tensors"
        raise CheckpointError(f"{file}: has {found}, not weight and bias.")
    if weight.ndim != 2 or weight.shape[1] != hidden or bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{file}: weight {weight.shape} and bias {bias.shape} are no linear layer of {hidden} inputs."
        )
    if not 1 <= len(bias) <= _WIDEST:
        raise CheckpointError(f"{file}: has {len(bias)} outputs; 1 to {_WIDEST} are supported.")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise CheckpointError(f"{file}: holds NaN or infinite values.")
    return TokenLinear(np.ascontiguousarray(weight.T), bias)
