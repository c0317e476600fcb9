"""Families that came to the hub with code of their own, which is never run."""

from __future__ import annotations

from typing import Any

from m3e_export.architectures.settings import Config

__all__ = ["HUB_NOMIC_BERT", "is_jina_bert", "only_in_custom_code", "read_classes"]

_CLASSES = {
    "eurobert": ("EuroBert",),
    "gte": ("Gte", "New"),
    "jina_bert": ("JinaBert",),
    "new": ("New",),
    "nomic_bert": ("NomicBert",),
}

HUB_NOMIC_BERT: dict[str, Any] = {
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": 3072,
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "type_vocab_size": 2,
}
"""What transformers' NomicBertConfig takes in place of the hub's keys, which it does not read."""


def read_classes(config: Config) -> tuple[str, ...]:
    """How the names of the hub's classes begin whose arithmetic is known for the family of ``config``."""
    return _CLASSES.get("jina_bert" if is_jina_bert(config) else str(config.get("model_type")), ())


def is_jina_bert(config: Config) -> bool:
    """Whether it is jina-embeddings-v2, which calls itself "bert": what it is shows in its positions."""
    return config.get("model_type") == "bert" and config.get("position_embedding_type") == "alibi"


def only_in_custom_code(config: Config) -> bool:
    """Whether no class of transformers computes what ``config``, the content of config.json, says.

    The oracle is then numpy's forward pass.
    """
    model_type = config.get("model_type")
    if model_type == "nomic_bert" and "n_embd" in config:
        # The default of the hub's code for a missing key is often another.
        return any(config.get(key) != value for key, value in HUB_NOMIC_BERT.items())
    scaling = config.get("rope_scaling") or {}
    if model_type == "gte" and isinstance(scaling, dict):
        return "ntk" in (scaling.get("type"), scaling.get("rope_type"))
    return model_type in ("new", "jina_bert") or config.get("position_embedding_type") == "alibi"
