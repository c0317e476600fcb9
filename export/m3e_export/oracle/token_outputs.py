"""The outputs of tokens by the formulas of BGE-M3's authors, from the states of the original model.

They use nothing of how this package reads the linear layers. Sources:
``EncoderOnlyEmbedderM3Model._sparse_embedding`` and ``_colbert_embedding`` in
``FlagEmbedding/finetune/embedder/encoder_only/m3/modeling.py``, and ``_process_token_weights`` and
``_process_colbert_vecs`` in ``FlagEmbedding/inference/embedder/encoder_only/m3.py`` of
https://github.com/FlagOpen/FlagEmbedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.errors import CheckpointError
from m3e_export.oracle.multi_vector_oracle import MultiVectorOracle
from m3e_export.oracle.sparse_oracle import SparseOracle
from m3e_export.token_gate import GateTokens, places_judged
from m3e_runtime.late_interaction import TASKS
from m3e_runtime.progress import progress_bar
from m3e_runtime.token_outputs import SparseVector
from m3e_runtime.tokenization import TokenIds

__all__ = ["StatesOracle", "oracle_tokens"]

Array = npt.NDArray[np.float32]


class StatesOracle(Protocol):
    """An oracle that gives the last states of tokens."""

    def states(self, texts: Sequence[str], tick: Callable[[int], object]) -> list[Array]:
        """The last state of each token of ``texts``, float32 ``[tokens, hidden]`` each."""
        ...


def oracle_tokens(oracle: StatesOracle, checkpoint: BaseCheckpoint, texts: Sequence[str]) -> GateTokens:
    """Run ``oracle`` on some of the gate's texts.

    Raises:
        CheckpointError: the original tokenizer gives other tokens.
    """
    places = places_judged(len(texts))
    some = [texts[at] for at in places]
    if isinstance(oracle, MultiVectorOracle):
        with progress_bar(2 * len(some), "text", "Original multi-vectors") as bar:
            queries, documents = (oracle.multi_vectors(some, task, bar.update) for task in TASKS)
        return GateTokens.of(places, [None] * len(some), documents, queries)
    if isinstance(oracle, SparseOracle):
        with progress_bar(len(some), "text", "Original weights of terms") as bar:
            return GateTokens.of(places, oracle.sparse(some, bar.update), [None] * len(some))
    token_ids = checkpoint.text_tokenizer().encode_batch(some)
    with progress_bar(len(some), "text", "Original outputs of tokens") as bar:
        states = oracle.states(some, bar.update)
    if any(len(ids) != len(each) for ids, each in zip(token_ids, states, strict=True)):
        raise CheckpointError("the original model splits a text of the gate into other tokens.")
    formulas = _Formulas(checkpoint)
    return GateTokens.of(
        places,
        [formulas.sparse(ids, each) for ids, each in zip(token_ids, states, strict=True)],
        [formulas.multi_vector(each) for each in states],
    )


class _Formulas:
    """The authors' linear layers, as PyTorch loads them."""

    def __init__(self, checkpoint: BaseCheckpoint) -> None:
        import torch

        self._torch = torch
        self._sparse_linear = _linear(torch, checkpoint.folder / "sparse_linear.pt")
        self._colbert_linear = _linear(torch, checkpoint.folder / "colbert_linear.pt")
        self._normalize = checkpoint.sentence_config.normalize
        named = checkpoint.special_tokens
        roles = ("cls_token", "eos_token", "pad_token", "unk_token")
        self._unused = {checkpoint.tokenizer.token_to_id(named[role]) for role in roles if role in named}

    def sparse(self, token_ids: TokenIds, states: Array) -> SparseVector | None:
        if self._sparse_linear is None:
            return None
        with self._torch.inference_mode():
            weights = self._torch.relu(self._sparse_linear(self._torch.from_numpy(states))).squeeze(-1)
        largest: dict[int, float] = {}
        for token, weight in zip(token_ids.tolist(), weights.tolist(), strict=True):
            if token not in self._unused and weight > 0:
                largest[token] = max(weight, largest.get(token, 0.0))
        return SparseVector.of_dict(largest)

    def multi_vector(self, states: Array) -> Array | None:
        if self._colbert_linear is None:
            return None
        with self._torch.inference_mode():
            vectors = self._colbert_linear(self._torch.from_numpy(states[1:]))
            if self._normalize:
                vectors = self._torch.nn.functional.normalize(vectors, dim=-1)
        found: Array = vectors.numpy()
        return found


def _linear(torch: Any, file: Path) -> Any:
    if not file.is_file():
        return None
    state = {name: tensor.float() for name, tensor in torch.load(file, weights_only=True).items()}
    outputs, inputs = state["weight"].shape
    layer = torch.nn.Linear(inputs, outputs)
    layer.load_state_dict(state)
    return layer.eval()
