"""Checkpoints as they lie on the hub, made of those that transformers writes: the keys of custom code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from synthetic import read_json, update_json, write_json

__all__ = ["HUB_GTE", "HUB_NOMIC", "hub_gte", "hub_modernbert", "hub_nomic_bert"]

_CODE = "raise SystemExit('the code of a checkpoint was run')\n"
_SIZES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
}
HUB_NOMIC: dict[str, Any] = {
    "activation_function": "swiglu",
    "causal": False,
    "dense_seq_output": True,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "pad_vocab_size_multiple": 16,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_weights": True,
    "use_flash_attn": True,
    "use_rms_norm": False,
}
"""What nomic-embed-text-v1.5 says beside its sizes; there, the vocabulary is a multiple of 64."""
HUB_GTE = {
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
}
"""What gte-multilingual-base says beside its sizes."""


def hub_nomic_bert(folder: Path, **changes: Any) -> Path:
    """Change a NomicBERT of transformers to the hub's keys; ``changes`` replace some."""
    config = read_json(folder / "config.json")
    made = {key: config[name] for key, name in _SIZES.items()}
    kept = {key: config[key] for key in ("vocab_size", "type_vocab_size", "model_type")}
    _with_code(folder, {**HUB_NOMIC, **made, **kept, **changes}, "NomicBert")
    return folder


def hub_gte(folder: Path, model_type: str = "new", *, prefix: str = "new.", **changes: Any) -> Path:
    """Change a GTE of transformers to the hub's keys; ``changes`` replace some."""
    config = read_json(folder / "config.json")
    del config["rope_parameters"]
    settings = {**config, **HUB_GTE, "model_type": model_type, "rope_theta": 160_000, "rope_scaling": None}
    _with_code(folder, {**settings, **changes}, "New")
    _rename(folder, prefix)
    return folder


def hub_modernbert(folder: Path) -> Path:
    """Change a ModernBERT to the keys of transformers 4, and its names to those of a language model."""
    config = read_json(folder / "config.json")
    sliding = config.pop("layer_types").index("sliding_attention")
    bases = config.pop("rope_parameters")
    update_json(
        folder / "config.json",
        remove=("layer_types", "rope_parameters"),
        global_attn_every_n_layers=sliding + 1,
        global_rope_theta=bases["full_attention"]["rope_theta"],
        local_rope_theta=bases["sliding_attention"]["rope_theta"],
        position_embedding_type="absolute",
    )
    _rename(folder, "model.")
    return folder


def _with_code(folder: Path, config: dict[str, Any], stem: str) -> None:
    """Write ``config`` with an ``auto_map``, and code that must not run."""
    names = {"AutoConfig": f"configuration.{stem}Config", "AutoModel": f"modeling.{stem}Model"}
    write_json(folder / "config.json", {**config, "auto_map": names, "architectures": [f"{stem}Model"]})
    for name in ("configuration.py", "modeling.py"):
        (folder / name).write_text(_CODE, encoding="utf-8")


def _rename(folder: Path, prefix: str) -> None:
    file = folder / "model.safetensors"
    save_file({prefix + key: value for key, value in load_file(file).items()}, file, {"format": "pt"})
