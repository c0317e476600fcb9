"""Companion files: they make a bundle a folder that sentence-transformers and Optimum load.

A bundle of a reranker, classifier or MultiVectorEncoder has the configuration and the tokenizer only: those
libraries expect a graph that outputs ``logits``, or modules that are no part of a graph.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.head import HeadLayer, layer_config, layer_tensors, module_kind
from m3e_export.checkpoint.pooling import pooling_config, pooling_spec

__all__ = ["write_companions"]

_CONFIG_KEYS_OUT = ("_name_or_path", "auto_map", "transformers_version")


def write_companions(folder: Path, checkpoint: BaseCheckpoint) -> list[Path]:
    """Write the companion files of ``checkpoint`` into ``folder``; return them."""
    files = [_write_json(folder / name, content) for name, content in _companions(checkpoint).items()]
    if _has_modules(checkpoint):
        for place, layer in enumerate(checkpoint.dense, start=2):
            files += _write_layer(folder / f"{place}_{module_kind(layer)}", layer)
    return files


def _companions(checkpoint: BaseCheckpoint) -> dict[str, Any]:
    """The files by name, in the older form that sentence-transformers 2 to 6 all read."""
    sentence_config = checkpoint.sentence_config
    config = {key: value for key, value in checkpoint.config.items() if key not in _CONFIG_KEYS_OUT}
    if checkpoint.classification is not None or not sentence_config.gives_dense:
        return {"config.json": config, "tokenizer_config.json": _tokenizer_config(checkpoint)}
    kept = sentence_config.truncated(checkpoint.dimension)
    companions: dict[str, Any] = {
        "config.json": config,
        "sentence_bert_config.json": {
            "max_seq_length": checkpoint.max_length,
            "do_lower_case": False,  # tokenizer.json does it
        },
        "config_sentence_transformers.json": {
            "prompts": sentence_config.prompts,
            "default_prompt_name": sentence_config.default_prompt_name,
            "similarity_fn_name": sentence_config.similarity,
            **({} if kept is None else {"truncate_dim": kept}),
        },
        "tokenizer_config.json": _tokenizer_config(checkpoint),
    }
    return {**companions, **_modules(checkpoint)}


def _modules(checkpoint: BaseCheckpoint) -> dict[str, Any]:
    """modules.json and the files that it lists. The encoder's pooler becomes a Dense module.

    Some poolings cannot be expressed in sentence-transformers, or need states that the graph does not output.
    Such a bundle has no modules.json: sentence-transformers then warns and takes the mean.
    """
    sentence_config, spec = checkpoint.sentence_config, pooling_spec(checkpoint.sentence_config.pooling)
    if not _has_modules(checkpoint):
        return {}
    layers = [module_kind(layer) for layer in checkpoint.dense]
    kinds = ["Transformer", "Pooling", *layers, *["Normalize"] * sentence_config.normalize]
    paths = [f"{place}_{kind}" if place else "" for place, kind in enumerate(kinds)]
    contents: list[Any] = [pooling_config(spec, checkpoint.hidden, sentence_config.include_prompt)]
    contents += [layer_config(layer) for layer in checkpoint.dense] + [{}] * sentence_config.normalize
    return {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
        **{f"{path}/config.json": content for path, content in zip(paths[1:], contents, strict=True)},
    }


def _has_modules(checkpoint: BaseCheckpoint) -> bool:
    """Whether there is a pooling of the last states only, and no classifier."""
    if checkpoint.classification is not None or not checkpoint.sentence_config.gives_dense:
        return False
    return pooling_spec(checkpoint.sentence_config.pooling).early is None and checkpoint.state_weights is None


def _write_layer(folder: Path, layer: HeadLayer) -> list[Path]:
    tensors = layer_tensors(layer)
    if not tensors:
        return []
    file = folder / "model.safetensors"
    # save_file of the library raises its own errors, and not OSError.
    file.write_bytes(save(tensors, metadata={"format": "pt"}))
    return [file]


def _tokenizer_config(checkpoint: BaseCheckpoint) -> dict[str, Any]:
    content = json.loads(checkpoint.tokenizer.to_str())
    normalizer = content.get("normalizer") or {}
    shared = {"model_max_length": checkpoint.max_length, **checkpoint.special_tokens}
    if checkpoint.classification is not None:
        types = ["token_type_ids"] if checkpoint.classification.token_types else []
        shared["model_input_names"] = ["input_ids", *types, "attention_mask"]
    if content["model"].get("type") != "WordPiece" or normalizer.get("type") != "BertNormalizer":
        # This class uses tokenizer.json unchanged.
        inputs = ["input_ids", "attention_mask"]
        return {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs, **shared}
    return {
        "tokenizer_class": "MPNetTokenizer" if checkpoint.model_type == "mpnet" else "BertTokenizer",
        "do_lower_case": bool(normalizer.get("lowercase", False)),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
        **shared,
    }


def _write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    return file
