"""jina-embeddings-v2 with random weights, and a small PyTorch model of it, written from the papers.

transformers does not have this family, and the code on the hub is not run here. The formulas are those of
https://arxiv.org/abs/2310.19923 (post-norm BERT, gated feed-forward part, biases by distance both ways), and
https://arxiv.org/abs/2108.12409 (the slopes of these biases). What the later layout adds is described in
https://github.com/huggingface/text-embeddings-inference/pull/292.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional

from families import write_wordpiece
from synthetic import modules_of, write_json

__all__ = ["jina_states", "make_jina_bert", "slope"]

_HIDDEN, _HEADS, _LAYERS, _WIDE, _VOCABULARY, _EPS = 72, 6, 2, 128, 2000, 1e-12
_LATER_NORMS = ("attention.self.layer_norm_q", "attention.self.layer_norm_k", "layer_norm_1")
Tensors = dict[str, torch.Tensor]


def make_jina_bert(folder: Path, later: bool = False, **changes: Any) -> Path:
    """Write a checkpoint as it lies on the hub; ``changes`` replace entries of the configuration.

    The ``later`` layout is that of jina-bert-v2-qk-post-norm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_wordpiece(folder)
    config = {
        "architectures": ["JinaBertForMaskedLM"],
        "auto_map": {"AutoConfig": "configuration_bert.JinaBertConfig", "AutoModel": "m.JinaBertModel"},
        "attn_implementation": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "hidden_act": "gelu",
        "hidden_size": _HIDDEN,
        "intermediate_size": _WIDE,
        "layer_norm_eps": _EPS,
        "max_position_embeddings": 512,
        "model_max_length": 512,
        "model_type": "bert",
        "num_attention_heads": _HEADS,
        "num_hidden_layers": _LAYERS,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "type_vocab_size": 2,
        "vocab_size": _VOCABULARY,
        **changes,
    }
    write_json(folder / "config.json", config)
    save_file(_tensors(later), str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_json(folder / "modules.json", modules_of("Transformer", "Pooling"))
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": _HIDDEN, "pooling_mode_mean_tokens": True},
    )
    return folder


def _tensors(later: bool) -> Tensors:
    torch.manual_seed(0)
    made = {
        "embeddings.word_embeddings.weight": torch.randn(_VOCABULARY, _HIDDEN) * 0.05,
        "embeddings.token_type_embeddings.weight": torch.randn(2, _HIDDEN) * 0.2,
    }

    def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        made[f"{name}.weight"] = torch.randn(outputs, inputs) * 0.7 * inputs**-0.5
        if bias:
            made[f"{name}.bias"] = torch.randn(outputs) * 0.1

    def norm(name: str) -> None:
        made[f"{name}.weight"] = 1 + 0.1 * torch.randn(_HIDDEN)
        made[f"{name}.bias"] = 0.1 * torch.randn(_HIDDEN)

    norm("embeddings.LayerNorm")
    for layer in range(_LAYERS):
        base = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{base}.attention.self.{part}", _HIDDEN, _HIDDEN)
        linear(f"{base}.attention.output.dense", _HIDDEN, _HIDDEN)
        norm(f"{base}.attention.output.LayerNorm")
        gated, output, output_norm = _names(later)
        linear(f"{base}.{gated}", _HIDDEN, 2 * _WIDE, bias=False)
        linear(f"{base}.{output}", _WIDE, _HIDDEN)
        norm(f"{base}.{output_norm}")
        for name in _LATER_NORMS if later else ():
            norm(f"{base}.{name}")
    return made


def _names(later: bool) -> tuple[str, str, str]:
    """Of the feed-forward part: the fused matrix, the output, the normalization."""
    if later:
        return "mlp.up_gated_layer", "mlp.down_layer", "layer_norm_2"
    return "mlp.gated_layers", "mlp.wo", "mlp.layernorm"


def jina_states(ids: torch.Tensor, activation: Any = functional.gelu, later: bool = False) -> torch.Tensor:
    """The last states, float32 ``[length, hidden]``, of one text's ``ids``."""
    tensors, (gated, output, output_norm) = _tensors(later), _names(later)

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        scale, shift = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return functional.layer_norm(x, (_HIDDEN,), scale, shift, _EPS)

    words, types = (tensors[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "token_type"))
    x = norm("embeddings.LayerNorm", words[ids] + types[0])
    for layer in range(_LAYERS):
        base = f"encoder.layer.{layer}"
        parts = [linear(f"{base}.attention.self.{part}", x) for part in ("query", "key", "value")]
        if later:
            parts[:2] = [
                norm(f"{base}.{name}", part) for name, part in zip(_LATER_NORMS[:2], parts[:2], strict=True)
            ]
        query, key, value = (part.view(len(ids), _HEADS, -1).transpose(0, 1) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, _biases(len(ids)))
        attended = linear(f"{base}.attention.output.dense", seen.transpose(0, 1).reshape(len(ids), -1))
        normalized = norm(f"{base}.attention.output.LayerNorm", x + attended)
        x = norm(f"{base}.{_LATER_NORMS[2]}", x + normalized) if later else normalized
        first, second = linear(f"{base}.{gated}", x).split(_WIDE, dim=-1)
        gate, factor = (second, first) if later else (first, second)
        x = norm(f"{base}.{output_norm}", x + linear(f"{base}.{output}", activation(gate) * factor))
    return x


def _biases(length: int) -> torch.Tensor:
    places = torch.arange(length)
    distances = (places[None, :] - places[:, None]).abs()
    return torch.stack([-slope(head) * distances for head in range(_HEADS)])


def slope(head: int) -> float:
    """Of six heads: four as for four, then the first and third of those for eight."""
    return 2.0 ** (-2 * (head + 1)) if head < 4 else 2.0 ** -(2 * (head - 4) + 1)
