"""PyTorch without padding: a BERT on packed tokens with PyTorch's own FlashAttention for unequal lengths.

What someone would write who wants the most from PyTorch: query, key and value in one product, tokenization of
the next batch while the GPU computes, one copy back at the end.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as f

from benchmarks.contestants.base import Contestant, Place
from benchmarks.contestants.torch_padded import fastest_batch

__all__ = ["CompiledFp16", "Fp16"]

_BATCH = 256
_BATCHES = (128, 256, 512)


class _PackedBert(torch.nn.Module):
    """Weights of transformers' BertModel; one row a token, and ``offsets`` where each text begins."""

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.embeddings = bert.embeddings
        self.layers = torch.nn.ModuleList(_PackedLayer(layer, bert.config) for layer in bert.encoder.layer)

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, offsets: torch.Tensor, longest: int
    ) -> torch.Tensor:
        e = self.embeddings
        states = e.word_embeddings(ids) + e.position_embeddings(positions) + e.token_type_embeddings.weight[0]
        states = e.LayerNorm(states)
        for layer in self.layers:
            states = layer(states, offsets, longest)
        return states


class _PackedLayer(torch.nn.Module):
    def __init__(self, layer: Any, config: Any) -> None:
        super().__init__()
        own = layer.attention.self
        three = (own.query, own.key, own.value)
        self.weight = torch.nn.Parameter(torch.cat([part.weight for part in three]))
        self.bias = torch.nn.Parameter(torch.cat([part.bias for part in three]))
        self.attention_output, self.intermediate, self.output = (
            layer.attention.output,
            layer.intermediate,
            layer.output,
        )
        self.heads = config.num_attention_heads

    def forward(self, states: torch.Tensor, offsets: torch.Tensor, longest: int) -> torch.Tensor:
        tokens, hidden = states.shape
        three = f.linear(states, self.weight, self.bias).view(tokens, 3, self.heads, hidden // self.heads)
        context = _attention(*three.unbind(1), offsets, longest).reshape(tokens, hidden)
        after = self.attention_output
        states = after.LayerNorm(after.dense(context) + states)
        wide = f.gelu(self.intermediate.dense(states))
        return self.output.LayerNorm(self.output.dense(wide) + states)


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, offsets: torch.Tensor, longest: int
) -> torch.Tensor:
    """Each text by itself: ``[tokens, heads, size]``."""
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        return varlen_attn(query, key, value, offsets, offsets, longest, longest)
    # There is none for a CPU: text by text, for rehearsals.
    texts = [
        f.scaled_dot_product_attention(*(part[a:b].transpose(0, 1) for part in (query, key, value)))
        for a, b in itertools.pairwise(offsets.tolist())
    ]
    return torch.cat(texts, dim=1).transpose(0, 1)


class Fp16(Contestant):
    """Float16, kernel by kernel."""

    @classmethod
    def prepare(cls, checkpoint: Path, folder: Path) -> Path:
        return checkpoint

    def __init__(self, model: Path, place: Place) -> None:
        from tokenizers import Tokenizer
        from transformers import BertModel

        torch.set_num_threads(place.threads)
        bert = BertModel.from_pretrained(model, dtype=torch.float16, add_pooling_layer=False)
        self._bert = _PackedBert(bert).eval().to(place.device)
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.enable_truncation(512)
        self._device = place.device
        self._batch = _BATCH

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> np.ndarray:
        parts = [self._run(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        vectors: np.ndarray = torch.cat(parts).cpu().numpy()
        return vectors

    def tune(self, texts: list[str]) -> None:
        def encode(size: int) -> None:
            self._batch = size
            self.encode(texts)

        self._batch = fastest_batch(encode, _BATCHES)

    def details(self, texts: list[str]) -> dict[str, Any]:
        return {"batch": self._batch}

    def _run(self, texts: list[str]) -> torch.Tensor:
        """Start a run; the vectors are on the device, perhaps not computed yet."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        lengths = np.array([len(row) for row in rows])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        which = np.repeat(np.arange(len(rows)), lengths)
        positions = np.arange(offsets[-1]) - offsets[which]
        ids = np.fromiter(itertools.chain.from_iterable(rows), np.int64, offsets[-1])
        of_tokens, starts = self._upload(np.stack([ids, positions, which])), self._upload(offsets)
        states = self._forward(len(rows), of_tokens[0], of_tokens[1], starts.int(), int(lengths.max()))
        sums = torch.zeros(len(rows), states.shape[1], device=states.device)
        return sums.index_add_(0, of_tokens[2], states.float()) / starts.diff()[:, None]

    def _upload(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _forward(self, texts: int, *inputs: Any) -> torch.Tensor:
        states: torch.Tensor = self._bert(*inputs)
        return states


class CompiledFp16(Fp16):
    """Compiled, for single texts and for batches, as sentence-transformers is beside it."""

    def __init__(self, model: Path, place: Place) -> None:
        super().__init__(model, place)
        self._single = torch.compile(self._bert, mode="reduce-overhead", dynamic=True)
        self._many = torch.compile(self._bert, mode="max-autotune-no-cudagraphs", dynamic=True)

    def _forward(self, texts: int, *inputs: Any) -> torch.Tensor:
        states: torch.Tensor = (self._single if texts == 1 else self._many)(*inputs)
        return states
