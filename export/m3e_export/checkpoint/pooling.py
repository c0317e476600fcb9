"""How the states of a text's tokens become its sentence vector: the pooling, and what is computed on it.

A pooling has a name, which the command line, the manifest and the native weights say. The names are
sentence-transformers' own (``mean``, ``max``, …), joined by ``+`` where several vectors are laid side by
side, and those of uniem and text2vec for what sentence-transformers does not have.

Some of the originals let padding take part: uniem's ``last_weighted`` calls the encoder without a mask, and
text2vec's averages count padding. What they give for a text depends on the texts beside it. Here every text
gives what it would alone, without padding; ``last_weighted`` is ``weightedmean`` then, and ``last_avg`` is
``mean``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from m3e_export.architectures import EncoderSpec
from m3e_export.architectures.layers import WORDS
from m3e_export.architectures.tensors import TensorLookup, Tensors
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.weights import load_tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = [
    "POOLINGS",
    "UNIEM_POOLINGS",
    "Dense",
    "DenseActivation",
    "Early",
    "PoolingSpec",
    "Reduction",
    "check_pooling",
    "dense_config",
    "pooler_layer",
    "pooling_config",
    "pooling_spec",
    "read_dense",
    "read_include_prompt",
    "read_pooling",
    "read_size",
]

Reduction = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""Sentence-transformers' pooling modes: one vector of a text's states.

``cls`` and ``lasttoken`` are the state of the first and the last token; ``mean_sqrt_len_tokens`` is the sum
of the states over the square root of their number; ``weightedmean`` weighs the tokens 1, 2, 3 …
"""

Early = Literal["words", "embeddings", "first layer"]
"""States before the last: rows of the word embeddings, what goes into the first layer, what leaves it."""

DenseActivation = Literal["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]
"""After a linear layer behind the pooling. ``gelu`` is the exact one."""

Array = npt.NDArray[np.float32]

# By their flags in config.json up to sentence-transformers 5, which lays the vectors in this order.
_FLAGS: dict[str, Reduction] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_REDUCTIONS: dict[str, Reduction] = {reduction: reduction for reduction in _FLAGS.values()}
_MOST_PARTS = 16  # as the native engine allows


@dataclass(frozen=True)
class PoolingSpec:
    """A pooling: its name, and the vectors that are laid side by side.

    ``early``: the vector is the mean of two means, of these states and of the last. ``pooler``: the encoder's
    own pooler, a linear layer and tanh on the first token's state, comes next.
    """

    name: str
    reductions: tuple[Reduction, ...]
    early: Early | None = None
    pooler: bool = False

    def width(self, hidden: int) -> int:
        """Length of the pooled vector, of states of ``hidden`` numbers."""
        return len(self.reductions) * hidden


_SINGLE = {
    **{name: PoolingSpec(name, (reduction,)) for name, reduction in _REDUCTIONS.items()},
    # uniem/model.py
    "first_last_mean": PoolingSpec("first_last_mean", ("mean",), early="embeddings"),
    "embedding_last_mean": PoolingSpec("embedding_last_mean", ("mean",), early="words"),
    # text2vec/sentence_model.py. Its "first" is hidden_states[1].
    "first_last_avg": PoolingSpec("first_last_avg", ("mean",), early="first layer"),
    "pooler": PoolingSpec("pooler", ("cls",), pooler=True),
}
_ALIASES = {"last_mean": "mean", "last_avg": "mean", "last_weighted": "weightedmean"}

POOLINGS = (*_SINGLE, *_ALIASES)
"""The names that ``--pooling`` takes."""

UNIEM_POOLINGS = ("last_mean", "cls", "first_last_mean", "embedding_last_mean", "last_weighted")
"""What uniem writes into config.json."""


def pooling_spec(name: str) -> PoolingSpec:
    """The pooling called ``name``; its own name is never an alias.

    Raises:
        UnsupportedModelError: there is none.
    """
    single = _SINGLE.get(_ALIASES.get(name, name))
    if single is not None:
        return single
    parts = name.split("+")
    if not all(part in _REDUCTIONS for part in parts):
        raise UnsupportedModelError(
            f"the pooling {name!r} is not supported; known: {', '.join(POOLINGS)}, and "
            f"sentence-transformers' own ({', '.join(_REDUCTIONS)}) joined by '+'."
        )
    if len(parts) > _MOST_PARTS:
        raise UnsupportedModelError(
            f"a pooling of {len(parts)} vectors; at most {_MOST_PARTS} are supported."
        )
    return PoolingSpec(name, tuple(_REDUCTIONS[part] for part in parts))


def check_pooling(name: str, spec: EncoderSpec) -> None:
    """See that an encoder can be pooled so.

    Raises:
        UnsupportedModelError: the mean of words and states, where their widths differ.
    """
    if pooling_spec(name).early == "words" and spec.embedding_size != spec.hidden:
        raise UnsupportedModelError(
            f"the pooling {name!r} adds word embeddings to states, and this model's are of "
            f"{spec.embedding_size} and {spec.hidden} numbers; choose another with --pooling."
        )


def read_pooling(folder: Path) -> str:
    """The name of the pooling in the folder of a sentence-transformers Pooling module.

    Raises:
        CheckpointError: its config.json is missing or broken.
        UnsupportedModelError: a pooling that is not known, named in the message.
    """
    file = folder / "config.json"
    config = read_object(file, required=True)
    names = _modes(file, config)
    unknown = [name for name in names if name not in _REDUCTIONS]
    if unknown or not names:
        raise UnsupportedModelError(
            f"{file}: the pooling {' + '.join(names) or '(none)'} is not supported; "
            f"known: {', '.join(_REDUCTIONS)}, alone or together."
        )
    return pooling_spec("+".join(names)).name


def read_include_prompt(folder: Path) -> bool:
    """Whether the Pooling module in ``folder`` pools the tokens of a prompt too.

    Raises:
        CheckpointError: its config.json is missing or broken.
    """
    file = folder / "config.json"
    value = read_object(file, required=True).get("include_prompt", True)
    if not isinstance(value, bool):
        raise CheckpointError(f"{file}: include_prompt is {value!r}; true or false was expected.")
    return value


def _modes(file: Path, config: Mapping[str, Any]) -> list[str]:
    """Names since sentence-transformers 6, which win; flags before, whose order is fixed."""
    if "pooling_mode" not in config:
        on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
        unknown = [key for key in on if key not in _FLAGS]
        return [*(name for flag, name in _FLAGS.items() if flag in on), *unknown]
    modes = config["pooling_mode"]
    names = modes if isinstance(modes, list) else [modes]
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{file}: pooling_mode {modes!r} is not a name or a list of names.")
    return names


def pooling_config(spec: PoolingSpec, hidden: int, include_prompt: bool = True) -> dict[str, Any]:
    """Content of 1_Pooling/config.json: flags, which every version reads, wherever they can say it."""
    content: dict[str, Any] = {
        "word_embedding_dimension": hidden,
        **{flag: reduction in spec.reductions for flag, reduction in _FLAGS.items()},
    }
    in_order = tuple(reduction for reduction in _FLAGS.values() if reduction in spec.reductions)
    if in_order != spec.reductions:
        content["pooling_mode"] = list(spec.reductions)  # another order, which only version 6 can read
    if not include_prompt:
        content["include_prompt"] = False  # silence, which the oldest versions need, means true
    return content


@dataclass(frozen=True)
class Dense:
    """``activation(x @ weight + bias)`` of a pooled vector.

    Weight float32 ``[inputs, outputs]``, bias float32 ``[outputs]``, zeros where there is none.
    """

    weight: Array
    bias: Array
    activation: DenseActivation


# What torch calls them. Sentence-transformers' Dense saves the class alone: GELU is the exact one then.
# It takes tanh where config.json is silent.
_TORCH_NAMES: dict[DenseActivation, str] = {
    "tanh": "torch.nn.modules.activation.Tanh",
    "identity": "torch.nn.modules.linear.Identity",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
    "silu": "torch.nn.modules.activation.SiLU",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
}
_ACTIVATIONS: dict[str, DenseActivation] = {
    **{torch_name: name for name, torch_name in _TORCH_NAMES.items()},
    **{f"torch.nn.{torch_name.rsplit('.', 1)[1]}": name for name, torch_name in _TORCH_NAMES.items()},
}
# Other values would make Dense something else. The first is the one meant by silence.
_DENSE_VARIANTS: dict[str, tuple[Any, ...]] = {
    "module_input_name": ("sentence_embedding",),
    "module_output_name": (None, "sentence_embedding"),
    "use_residual": (False, None),
}
_WIDEST = 1 << 16  # of what a layer gives, as the native engine allows


def pooler_layer(hidden: int, tensors: Tensors) -> Dense:
    """The encoder's own pooler.

    Raises:
        CheckpointError: a tensor is missing, or not ``hidden`` wide.
    """
    lookup = TensorLookup(tensors, WORDS)
    name = "pooler" if lookup.has("pooler.weight") else "pooler.dense"  # the former in ALBERT
    weight = lookup.get(f"{name}.weight", hidden, hidden)
    return Dense(np.ascontiguousarray(weight.T), lookup.get(f"{name}.bias", hidden), "tanh")


def read_dense(folder: Path, width: int) -> Dense:
    """The Dense module in ``folder``, which takes vectors of ``width`` numbers.

    Raises:
        CheckpointError: a tensor is missing, or not of the shape that config.json and the layer before say.
        UnsupportedModelError: an activation or a variant that is not known, named in the message.
    """
    file = folder / "config.json"
    config = read_object(file, required=True)
    for key, allowed in _DENSE_VARIANTS.items():
        if config.get(key, allowed[0]) not in allowed:
            raise UnsupportedModelError(f"{file}: {key} {config[key]!r} is not supported.")
    activation = str(config.get("activation_function", _TORCH_NAMES["tanh"]))
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{file}: the activation_function {activation!r} is not supported, and no code that a checkpoint "
            f"names is ever run; known: {', '.join(_ACTIVATIONS)}."
        )
    inputs = read_size(file, config, "in_features", _MOST_PARTS * _WIDEST)
    outputs = read_size(file, config, "out_features", _WIDEST)
    if inputs != width:
        raise CheckpointError(f"{file}: in_features is {inputs}; what comes before gives {width} numbers.")
    tensors = load_tensors(folder).arrays
    weight = TensorLookup(tensors, "linear.weight").get("linear.weight", outputs, inputs)
    bias = np.zeros(outputs, np.float32)
    if config.get("bias", True):
        bias = TensorLookup(tensors, "linear.bias").get("linear.bias", outputs)
    return Dense(np.ascontiguousarray(weight.T), bias, _ACTIVATIONS[activation])


def read_size(file: Path, config: Mapping[str, Any], key: str, limit: int) -> int:
    """``config[key]`` of ``file`` as an integer between 1 and ``limit``.

    Raises:
        CheckpointError: missing, not an integer, or out of range.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise CheckpointError(f"{file}: {key} is {value!r}; an integer from 1 to {limit} was expected.")
    return value


def dense_config(dense: Dense) -> dict[str, Any]:
    """Content of config.json of a sentence-transformers Dense module."""
    inputs, outputs = dense.weight.shape
    return {
        "in_features": inputs,
        "out_features": outputs,
        "bias": True,
        "activation_function": _TORCH_NAMES[dense.activation],
    }
