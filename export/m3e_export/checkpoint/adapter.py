"""LoRA adapters of PEFT. An adapter's folder has its matrices and names its base model.

The merged weight is ``W + scaling · B · A``, as in PEFT's ``merge_and_unload``. The settings are defined in
``peft/tuners/lora/config.py`` and ``layer.py``. Settings that may change this sum are rejected by name.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.checkpoint.jsonfile import read_object, refuse_pointer
from m3e_export.checkpoint.source import fetch
from m3e_export.checkpoint.weights import Tensors, read_tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.hubs import DEFAULT_HUB, HubName

__all__ = ["base_name", "fetch_base", "is_adapter", "merge_adapter"]

Array = npt.NDArray[np.float32]

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_USED = ("base_model_name_or_path", "bias", "init_lora_weights", "peft_type", "revision", "use_rslora")
_NUMBERS = ("r", "lora_alpha", "rank_pattern", "alpha_pattern")
# They concern training, the choice of modules (which the tensors show), or other settings. PEFT corrects
# fan_in_fan_out itself for nn.Linear, and the families here have no other kind.
_WITHOUT_EFFECT = (
    *("auto_mapping", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern"),
    *("layers_to_transform", "lora_dropout", "megatron_core", "modules_to_save", "peft_version"),
    *("qalora_group_size", "runtime_config", "target_modules", "task_type"),
)
# Other values change the base model's weights before training.
_INITIALIZATIONS = (True, False, None, "gaussian", "orthogonal", "eva")
# Their matrices are transposed: [inputs, outputs].
_CONV1D = ("gpt2", "imagegpt", "openai-gpt", "decision_transformer")
_PLAIN_NAME = re.compile(r"[\w.-]+")
_POOLER = ".pooler."
_MOST_RANK = 1 << 16
_SUFFIXES = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_embedding_A": "embedding A",
    ".lora_embedding_B": "embedding B",
}


def is_adapter(folder: Path) -> bool:
    """Whether ``folder`` contains an adapter of PEFT."""
    return (folder / _CONFIG).is_file()


def base_name(folder: Path) -> str:
    """The base model of the adapter in ``folder``: a folder or a hub id.

    Raises:
        CheckpointError: the adapter does not name it.
    """
    name = read_object(folder / _CONFIG, required=True).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(
            f"{folder / _CONFIG}: base_model_name_or_path is {name!r}; set it to the folder or the hub id of "
            "the adapter's base model."
        )
    return name


def fetch_base(folder: Path, hub: HubName = DEFAULT_HUB) -> Path:
    """The folder of the base model of the adapter in ``folder``. Hub ids are downloaded from ``hub``.

    Raises:
        CheckpointError: the base model cannot be found or downloaded.
        UnsupportedModelError: the base model is an adapter.
    """
    name, revision = base_name(folder), read_object(folder / _CONFIG).get("revision")
    if Path(name).expanduser().is_dir() or not isinstance(revision, str):
        revision = None
    try:
        base = fetch(name, revision, hub).folder
    except CheckpointError as error:
        raise CheckpointError(f"{folder / _CONFIG}: the adapter's base model: {error}") from error
    if is_adapter(base):
        raise UnsupportedModelError(
            f"{folder / _CONFIG}: the base model {name} is an adapter too, which is not supported; merge it "
            "into its base model first."
        )
    return base


@dataclass(frozen=True)
class _Lora:
    """The settings of an adapter that scale its matrices."""

    file: Path
    rank: int
    alpha: float
    ranks: Mapping[str, Any]
    alphas: Mapping[str, Any]
    over_root: bool

    @staticmethod
    def read(file: Path) -> _Lora:
        config = read_object(file, required=True)
        _refuse_others(file, config)
        for key in ("rank_pattern", "alpha_pattern"):
            patterns = config.get(key) or {}
            if not isinstance(patterns, dict) or not all(map(_PLAIN_NAME.fullmatch, patterns)):
                raise UnsupportedModelError(
                    f"{file}: {key} {patterns!r}: only plain names of modules are supported."
                )
        ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
        # The defaults of LoraConfig.
        rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
        return _Lora(file, rank, alpha, ranks, alphas, bool(config.get("use_rslora", False)))

    def rank_of(self, module: str) -> int:
        """The number of rows of A for ``module``."""
        rank = self.ranks.get(_pattern_of(self.ranks, module), self.rank)
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= _MOST_RANK:
            raise CheckpointError(
                f"{self.file}: r is {rank!r}; an integer from 1 to {_MOST_RANK} was expected."
            )
        return rank

    def scaling(self, module: str) -> np.float32:
        """The factor on B · A."""
        alpha = self.alphas.get(_pattern_of(self.alphas, module), self.alpha)
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise CheckpointError(f"{self.file}: lora_alpha is {alpha!r}; a number was expected.")
        rank = self.rank_of(module)
        return np.float32(alpha / (math.sqrt(rank) if self.over_root else rank))


def _refuse_others(file: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UnsupportedModelError(
            f"{file}: peft_type {kind!r} is not supported, only 'LORA' is; merge it with PEFT's "
            "merge_and_unload() and save the model."
        )
    bias, start = config.get("bias", "none"), config.get("init_lora_weights", True)
    if bias != "none":
        raise UnsupportedModelError(f"{file}: bias {bias!r} is not supported, only 'none' is.")
    if not any(start is each or (isinstance(each, str) and start == each) for each in _INITIALIZATIONS):
        raise UnsupportedModelError(
            f"{file}: init_lora_weights {start!r} is not supported: it changes the base model's weights."
        )
    known = (*_USED, *_NUMBERS, *_WITHOUT_EFFECT)
    for key, value in config.items():
        if key not in known and value:
            raise UnsupportedModelError(f"{file}: {key} {value!r} is not supported.")


def _pattern_of(patterns: Mapping[str, Any], module: str) -> str:
    """The first of ``patterns`` that is the name of ``module`` or its last parts."""
    return next((each for each in patterns if f".{module}".endswith(f".{each}")), module)


def merge_adapter(base: Tensors, folder: Path, model_type: str) -> Tensors:
    """Merge the adapter in ``folder`` into the weights ``base``.

    Args:
        base: the tensors of the base model.
        folder: the adapter's.
        model_type: the base model's family.

    Raises:
        CheckpointError: tensors are missing, damaged, or do not fit the base model.
        UnsupportedModelError: a setting, a kind of tensor or a family that is not supported, by name.
        UntrustedCheckpointError: a pickle with anything but tensors.
    """
    lora = _Lora.read(folder / _CONFIG)
    if model_type in _CONV1D:
        raise UnsupportedModelError(f"{folder}: an adapter of a {model_type!r} model is not supported.")
    file = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{folder}: there is {_CONFIG} but no {' or '.join(_WEIGHTS)}.")
    refuse_pointer(file)
    arrays, parts = dict(base.arrays), _parts(file)
    for module, found in parts.items():
        name = f"{module}.weight" if _factors(found) else module
        alike = _names_in(arrays, name)
        if not alike and _POOLER in f".{name}":
            continue  # random in training; the checkpoint does not use a pooler
        if len(alike) != 1:
            raise CheckpointError(f"{file}: changes {name!r}, which the base model does not have.")
        arrays[alike[0]] = _changed(lora, module, found, arrays[alike[0]])
    with file.open("rb") as stream:
        digest = hashlib.sha256(bytes.fromhex(base.sha256))
        digest.update(hashlib.file_digest(stream, "sha256").digest())
    return Tensors(arrays, digest.hexdigest())


def _parts(file: Path) -> dict[str, dict[str, Array]]:
    """By module: the factors A and B, or a whole tensor (modules_to_save)."""
    parts: dict[str, dict[str, Array]] = {}
    for name, tensor in read_tensors(file):
        if not name.startswith(_PREFIX):
            raise UnsupportedModelError(f"{file}: the tensor {name!r} is not supported.")
        target = name[len(_PREFIX) :].replace(".modules_to_save", "")
        suffix = next((each for each in _SUFFIXES if target.endswith(each)), "")
        if not suffix and ("lora_" in target or ".base_layer." in target):
            raise UnsupportedModelError(f"{file}: the tensor {name!r} is not supported.")
        parts.setdefault(target.removesuffix(suffix), {})[_SUFFIXES.get(suffix, "whole")] = tensor
    if not parts:
        raise CheckpointError(f"{file}: there are no tensors.")
    return parts


def _factors(found: Mapping[str, Array]) -> bool:
    return "whole" not in found


def _names_in(arrays: Mapping[str, Array], name: str) -> list[str]:
    """The names in the base checkpoint that match ``name``. Either may have a prefix."""
    if name in arrays:
        return [name]
    return [each for each in arrays if each.endswith(f".{name}") or name.endswith(f".{each}")]


def _changed(lora: _Lora, module: str, found: Mapping[str, Array], weight: Array) -> Array:
    """``weight`` with the change ``found`` that the adapter has for ``module``."""
    if not _factors(found):
        return _fitting(lora, module, found["whole"], weight)
    embedding = "embedding A" in found
    names = ("embedding A", "embedding B") if embedding else ("A", "B")
    if set(found) != set(names):
        raise CheckpointError(f"{lora.file.parent}: {module!r} lacks its matrix A or B.")
    a, b = (found[name] for name in names)
    rank = lora.rank_of(module)
    if a.ndim != 2 or b.ndim != 2 or not len(a) == b.shape[1] == rank:
        raise UnsupportedModelError(
            f"{lora.file.parent}: {module!r} has the matrices A {a.shape} and B {b.shape}; expected rank "
            f"{rank}."
        )
    product = (b @ a) * lora.scaling(module)
    return weight + _fitting(lora, module, product.T if embedding else product, weight)


def _fitting(lora: _Lora, module: str, change: Array, weight: Array) -> Array:
    if change.shape != weight.shape:
        raise CheckpointError(
            f"{lora.file.parent}: changes {module!r} by {change.shape}; the base model has {weight.shape}."
        )
    return change
