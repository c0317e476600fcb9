"""Sparse vectors and multi-vectors: what models such as bge-m3 give beside the vector of a text.

The definitions are those of BGE-M3's authors: ``M3Embedder.encode_single_device`` in
``FlagEmbedding/inference/embedder/encoder_only/m3.py`` of https://github.com/FlagOpen/FlagEmbedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import OptionError
from m3e_runtime.late_interaction import Task, skipped_tokens
from m3e_runtime.manifest import MultiVectorOutput, TokenOutputs
from m3e_runtime.tokenization import TokenIds

__all__ = [
    "OUTPUTS",
    "Output",
    "Outputs",
    "SparseVector",
    "TextOutputs",
    "TokenResult",
    "all_outputs",
    "finish_tokens",
    "given_outputs",
    "sparse_vector",
    "wanted_outputs",
]

Output = Literal["dense", "sparse", "multi_vector"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SparseVector:
    """Weights of token ids; all other ids have weight zero.

    Attributes:
        indices: token ids, ascending, int32 ``[k]``.
        values: their weights, above zero, float32 ``[k]``.
    """

    indices: npt.NDArray[np.int32]
    values: Array

    def as_dict(self) -> dict[int, float]:
        """The weights by token id, as FlagEmbedding's ``lexical_weights``."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))

    @staticmethod
    def of_dense(weights: Array) -> SparseVector:
        """The weights above zero of all token ids, float32 ``[vocabulary]``."""
        indices = np.flatnonzero(weights > 0)
        return SparseVector(indices.astype(np.int32), weights[indices])

    @staticmethod
    def of_dict(weights: dict[int, float]) -> SparseVector:
        """The inverse of :meth:`as_dict`."""
        ids = sorted(weights)
        values = np.array([weights[each] for each in ids], np.float32)
        return SparseVector(np.array(ids, np.int32), values)


@dataclass(frozen=True, eq=False)
class TextOutputs:
    """The outputs of one text. Those that were not asked for are None.

    Attributes:
        dense: float32 ``[dimension]``.
        sparse: the sparse vector.
        multi_vector: a vector of each token, float32 ``[tokens, size]``.
    """

    dense: Array | None
    sparse: SparseVector | None
    multi_vector: Array | None


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs of several texts, in their order. Those that were not asked for are None.

    Attributes:
        dense: float32 ``[n, dimension]``.
        sparse: a sparse vector for each text.
        multi_vector: float32 ``[tokens, size]`` for each text.
    """

    dense: Array | None
    sparse: list[SparseVector] | None
    multi_vector: list[Array] | None

    def __len__(self) -> int:
        """The number of texts."""
        given: Any = next(each for each in (self.dense, self.sparse, self.multi_vector) if each is not None)
        return len(given)

    def __getitem__(self, index: int) -> TextOutputs:
        """The outputs of one text."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return TextOutputs(
            None if self.dense is None else self.dense[index],
            None if self.sparse is None else self.sparse[index],
            None if self.multi_vector is None else self.multi_vector[index],
        )

    def __iter__(self) -> Iterator[TextOutputs]:
        """The outputs of each text."""
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, eq=False)
class TokenResult:
    """What an engine gives for the tokens of one text, special tokens included.

    ``weights`` is float32 ``[tokens]``, ``vectors`` float32 ``[tokens, size]``; each may be None. ``terms``
    are weights of the vocabulary, which models such as SPLADE give instead of ``weights``.
    """

    weights: Array | None
    vectors: Array | None
    terms: SparseVector | None = None


def wanted_outputs(outputs: Sequence[Output], given: TokenOutputs | None) -> frozenset[Output]:
    """Check which outputs are asked for.

    Args:
        outputs: their names.
        given: what the model gives beside the vector of a text.

    Raises:
        OptionError: there are none, a name is unknown, or the model does not give an output.
    """
    if isinstance(outputs, str) or not outputs or any(each not in OUTPUTS for each in outputs):
        raise OptionError(f"outputs={outputs!r}: give some of {', '.join(OUTPUTS)}.")
    known = given_outputs(given)
    if lacking := [each for each in outputs if each not in known]:
        raise OptionError(
            f"the model gives no {' and no '.join(lacking)} output; it gives: {', '.join(known)}. bge-m3 "
            "gives all three if sparse_linear.pt and colbert_linear.pt are in the folder that is exported."
        )
    return frozenset(outputs)


def given_outputs(given: TokenOutputs | None) -> list[Output]:
    """The names of a model's outputs."""
    given = given or TokenOutputs()
    known: dict[Output, Any] = {
        "dense": given.dense,
        "sparse": given.sparse,
        "multi_vector": given.multi_vector,
    }
    return [name for name, there in known.items() if there]


def sparse_vector(ids: TokenIds, weights: Array, left_out: Sequence[int]) -> SparseVector:
    """The largest weight of each token id, without weights of zero and without special tokens.

    Args:
        ids: int32 ``[tokens]``.
        weights: float32 ``[tokens]``, at least zero.
        left_out: token ids that have no weight.
    """
    kept = weights > 0
    for each in left_out:
        kept &= ids != each
    found, places = np.unique(ids[kept], return_inverse=True)
    values = np.zeros(len(found), np.float32)
    np.maximum.at(values, places, weights[kept])
    return SparseVector(found.astype(np.int32), values)


def finish_tokens(
    ids: TokenIds, found: TokenResult, given: TokenOutputs, task: Task | None = None
) -> tuple[SparseVector | None, Array | None]:
    """The sparse vector and the multi-vector of a text, from what the engine gives for its tokens.

    Args:
        ids: int32 ``[tokens]``.
        found: the engine's result.
        given: says which tokens are left out.
        task: of the text.
    """
    sparse, vectors = found.terms, None
    if found.weights is not None and given.sparse is not None:
        sparse = sparse_vector(ids, found.weights, given.sparse.left_out)
    if found.vectors is not None and given.multi_vector is not None:
        vectors = _kept(ids, found.vectors, given.multi_vector, task)
    return sparse, vectors


def _kept(ids: TokenIds, vectors: Array, given: MultiVectorOutput, task: Task | None) -> Array:
    """The vectors of the tokens that have one in the output."""
    skipped = skipped_tokens(given, task)
    if not skipped:
        return vectors[given.left_out :]
    kept = ~np.isin(ids, skipped)
    kept[: given.left_out] = False
    some: Array = vectors[kept]
    return some


def all_outputs(
    token_ids: Sequence[TokenIds],
    dense: Array | None,
    tokens: Sequence[TokenResult],
    given: TokenOutputs,
    wanted: frozenset[Output],
    task: Task | None = None,
) -> Outputs:
    """Gather the outputs of texts.

    Args:
        token_ids: of each text.
        dense: the finished dense vectors, if they are wanted.
        tokens: the engine's results for the tokens of each text; empty if none are wanted.
        given: as for :func:`finish_tokens`.
        wanted: as from :func:`wanted_outputs`.
        task: as for :func:`finish_tokens`.
    """
    both = [finish_tokens(ids, each, given, task) for ids, each in zip(token_ids, tokens, strict=False)]
    return Outputs(
        dense,
        [each for each, _ in both if each is not None] if "sparse" in wanted else None,
        [each for _, each in both if each is not None] if "multi_vector" in wanted else None,
    )
