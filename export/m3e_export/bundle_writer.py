"""Writing a bundle folder: complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from m3e_export.checkpoint import Checkpoint
from m3e_export.errors import OptionError
from m3e_runtime.bundle import sha256_of
from m3e_runtime.manifest import MANIFEST_NAME, FileEntry, Manifest

__all__ = ["entry_of", "prepared_folder", "write_companions", "write_manifest"]

_CONFIG_KEYS_OUT = ("_name_or_path", "auto_map", "transformers_version")


@contextmanager
def prepared_folder(target: Path, force: bool) -> Iterator[Path]:
    """A temporary folder beside ``target`` that becomes ``target`` when the block ends without error.

    Raises:
        OptionError: ``target`` exists and ``force`` is not set, or exists and is not a bundle.
    """
    _check_target(target, force)
    created = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        _replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not target.exists():
            for parent in created:  # the innermost first
                parent.rmdir()


def _check_target(target: Path, force: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST_NAME).is_file():
        raise OptionError(f"{target}: exists and is not a bundle; choose another folder with -o.")
    if not force:
        raise OptionError(f"{target}: exists; add --force to replace it, or choose another folder with -o.")


def _replace(work: Path, target: Path) -> None:
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
        os.replace(target, old / "bundle")
        os.replace(work, target)
        shutil.rmtree(old)
    else:
        os.replace(work, target)


def entry_of(folder: Path, file: Path) -> FileEntry:
    """Manifest entry of ``file`` in ``folder``."""
    return FileEntry(file.relative_to(folder).as_posix(), file.stat().st_size, sha256_of(file))


def write_companions(folder: Path, checkpoint: Checkpoint) -> tuple[FileEntry, tuple[FileEntry, ...]]:
    """Write the tokenizer and the files that make the bundle a sentence-transformers / Optimum folder.

    Returns:
        The entry of ``tokenizer.json``, and those of the other files.
    """
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(checkpoint.tokenizer.to_str(pretty=False), encoding="utf-8")
    files = [_write_json(folder / name, content) for name, content in _companions(checkpoint).items()]
    return entry_of(folder, tokenizer), tuple(entry_of(folder, file) for file in files)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())


def _companions(checkpoint: Checkpoint) -> dict[str, Any]:
    """The older spellings that sentence-transformers 2 to 6 all read."""
    layout = checkpoint.layout
    modules = ["Transformer", "Pooling"] + (["Normalize"] if layout.normalize else [])
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    config = {key: value for key, value in checkpoint.config.items() if key not in _CONFIG_KEYS_OUT}
    companions: dict[str, Any] = {
        "config.json": config,
        "modules.json": [
            {"idx": i, "name": str(i), "path": paths[kind], "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(modules)
        ],
        "sentence_bert_config.json": {
            "max_seq_length": checkpoint.max_length,
            "do_lower_case": False,  # tokenizer.json does it
        },
        "config_sentence_transformers.json": {
            "prompts": layout.prompts,
            "default_prompt_name": layout.default_prompt_name,
            "similarity_fn_name": layout.similarity,
        },
        "tokenizer_config.json": _tokenizer_config(checkpoint),
        "1_Pooling/config.json": {
            "word_embedding_dimension": checkpoint.spec.hidden,
            "pooling_mode_cls_token": layout.pooling == "cls",
            "pooling_mode_mean_tokens": layout.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    if layout.normalize:
        companions["2_Normalize/config.json"] = {}
    return companions


def _tokenizer_config(checkpoint: Checkpoint) -> dict[str, Any]:
    content = json.loads(checkpoint.tokenizer.to_str())
    normalizer = content.get("normalizer") or {}
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": bool(normalizer.get("lowercase", False)),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
        "model_max_length": checkpoint.max_length,
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
    }


def _write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    return file
