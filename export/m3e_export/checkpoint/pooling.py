"""Poolings: how the states of a text's tokens become one vector, and Dense layers after it.

The command line, the manifest and the native weights use the name of a pooling. Most names are those of
sentence-transformers (``mean``, ``max``, …), joined by ``+`` if vectors are concatenated. The others are
those of uniem and text2vec for poolings that sentence-transformers does not have.

Some originals do not mask padding: uniem's ``last_weighted`` calls the encoder without a mask, and text2vec's
averages count padding. Their vector of a text depends on the other texts of the batch. Here each text has the
vector that it has alone. ``last_weighted`` is then the same as ``weightedmean``, and ``last_avg`` the same as
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
    "activation_of_class",
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
"""The pooling modes of sentence-transformers, which reduce a text's states to one vector.

``cls`` and ``lasttoken`` are the state of the first and the last token. ``mean_sqrt_len_tokens`` is the sum
of the states divided by the square root of their number. ``weightedmean`` has the weights 1, 2, 3 …
"""

Early = Literal["words", "embeddings", "first layer"]
"""Early states: the word embeddings, the input of the first layer, or its output."""

DenseActivation = Literal["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]
"""The activations of Dense layers. ``gelu`` is the exact one."""

Array = npt.NDArray[np.float32]

# The flags of config.json up to sentence-transformers 5, which concatenates vectors in this order.
_FLAGS: dict[str, Reduction] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_REDUCTIONS: dict[str, Reduction] = {reduction: reduction for reduction in _FLAGS.values()}
_MOST_PARTS = 16  # the limit of the native engine


@dataclass(frozen=True)
class PoolingSpec:
    """A pooling: its name and the reductions whose vectors are concatenated.

    With ``early``, the vector is the mean of the means of these states and of the last states. With
    ``pooler``, the encoder's pooler follows: a linear layer and tanh on the first token's state.
    """

    name: str
    reductions: tuple[Reduction, ...]
    early: Early | None = None
    pooler: bool = False

    def width(self, hidden: int) -> int:
        """The length of the pooled vector for states of width ``hidden``."""
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
"""The names that uniem writes into config.json."""


def pooling_spec(name: str) -> PoolingSpec:
    """The pooling ``name``. An alias gives the pooling that it stands for.

    Raises:
        UnsupportedModelError: the pooling is not supported.
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
    """Check that an encoder supports the pooling.

    Raises:
        UnsupportedModelError: the pooling adds word embeddings to states of another width.
    """
    if pooling_spec(name).early == "words" and spec.embedding_size != spec.hidden:
        raise UnsupportedModelError(
            f"the pooling {name!r} adds word embeddings to states, but their widths are "
            f"{spec.embedding_size} and {spec.hidden}; choose another with --pooling."
        )


def read_pooling(folder: Path) -> str:
    """The name of the pooling of the Pooling module in ``folder``.

    Raises:
        CheckpointError: config.json is missing or broken.
        UnsupportedModelError: the pooling is not supported; the message names it.
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
    """Whether the Pooling module in ``folder`` pools the tokens of a prompt.

    Raises:
        CheckpointError: config.json is missing or broken.
    """
    file = folder / "config.json"
    value = read_object(file, required=True).get("include_prompt", True)
    if not isinstance(value, bool):
        raise CheckpointError(f"{file}: include_prompt is {value!r}; true or false was expected.")
    return value


def _modes(file: Path, config: Mapping[str, Any]) -> list[str]:
    """The reductions: names since sentence-transformers 6, else flags in a fixed order."""
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
    """The content of 1_Pooling/config.json: flags, which every version reads, if they suffice."""
    content: dict[str, Any] = {
        "word_embedding_dimension": hidden,
        **{flag: reduction in spec.reductions for flag, reduction in _FLAGS.items()},
    }
    in_order = tuple(reduction for reduction in _FLAGS.values() if reduction in spec.reductions)
    if in_order != spec.reductions:
        content["pooling_mode"] = list(spec.reductions)  # another order; only version 6 reads it
    if not include_prompt:
        content["include_prompt"] = False  # the default is true, and the oldest versions do not know the key
    return content


@dataclass(frozen=True)
class Dense:
    """``activation(x @ weight + bias)`` of a pooled vector.

    ``weight`` is float32 ``[inputs, outputs]``, ``bias`` float32 ``[outputs]``; a missing bias is zeros.
    """

    weight: Array
    bias: Array
    activation: DenseActivation


# The classes in torch. Dense of sentence-transformers saves no arguments, so GELU is the exact one. The
# default is tanh.
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
Features = Literal["sentence_embedding", "token_embeddings"]
_WIDEST = 1 << 16  # outputs of a layer; the limit of the native engine


def activation_of_class(name: str) -> DenseActivation | None:
    """The activation that the class ``name`` of torch computes; None if it is not supported."""
    return _ACTIVATIONS.get(name)


def pooler_layer(hidden: int, tensors: Tensors) -> Dense:
    """The encoder's pooler.

    Raises:
        CheckpointError: a tensor is missing or has another width than ``hidden``.
    """
    lookup = TensorLookup(tensors, WORDS)
    name = "pooler" if lookup.has("pooler.weight") else "pooler.dense"  # the former in ALBERT
    weight = lookup.get(f"{name}.weight", hidden, hidden)
    return Dense(np.ascontiguousarray(weight.T), lookup.get(f"{name}.bias", hidden), "tanh")


def read_dense(folder: Path, width: int, features: Features = "sentence_embedding") -> Dense:
    """The Dense module in ``folder`` for ``features``, whose inputs have ``width`` numbers.

    Raises:
        CheckpointError: a tensor is missing, or its shape does not match config.json and the layer before.
        UnsupportedModelError: the activation or variant is not supported; the message names it.
    """
    file = folder / "config.json"
    config = read_object(file, required=True)
    for key, allowed in _dense_variants(features).items():
        if config.get(key, allowed[0]) not in allowed:
            raise UnsupportedModelError(f"{file}: {key} {config[key]!r} is not supported.")
    activation = str(config.get("activation_function", _TORCH_NAMES["tanh"]))
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{file}: the activation_function {activation!r} is not supported, and code of checkpoints is "
            f"never run; known: {', '.join(_ACTIVATIONS)}."
        )
    inputs = read_size(file, config, "in_features", _MOST_PARTS * _WIDEST)
    outputs = read_size(file, config, "out_features", _WIDEST)
    if inputs != width:
        raise CheckpointError(f"{file}: in_features is {inputs}; the layer before has {width} outputs.")
    tensors = load_tensors(folder).arrays
    weight = TensorLookup(tensors, "linear.weight").get("linear.weight", outputs, inputs)
    bias = np.zeros(outputs, np.float32)
    if config.get("bias", True):
        bias = TensorLookup(tensors, "linear.bias").get("linear.bias", outputs)
    return Dense(np.ascontiguousarray(weight.T), bias, _ACTIVATIONS[activation])


def _dense_variants(features: Features) -> dict[str, tuple[Any, ...]]:
    """The supported values. The first is the default."""
    return {
        "module_input_name": (features,),
        "module_output_name": (None, features),
        "use_residual": (False, None),
    }


def read_size(file: Path, config: Mapping[str, Any], key: str, limit: int) -> int:
    """``config[key]``, an integer from 1 to ``limit``. ``file`` is for the message.

    Raises:
        CheckpointError: missing, not an integer, or out of range.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise CheckpointError(f"{file}: {key} is {value!r}; an integer from 1 to {limit} was expected.")
    return value


def dense_config(dense: Dense) -> dict[str, Any]:
    """The content of config.json of a Dense module."""
    inputs, outputs = dense.weight.shape
    return {
        "in_features": inputs,
        "out_features": outputs,
        "bias": True,
        "activation_function": _TORCH_NAMES[dense.activation],
    }
