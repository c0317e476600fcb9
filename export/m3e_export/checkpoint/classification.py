"""Rerankers and classifiers: what their logits mean, and the layers that compute them.

transformers defines them in ``models/*/modeling_*.py``, in the classes ``…ForSequenceClassification``, and
sentence-transformers 6.2 in ``cross_encoder/model.py``. Each is the encoder's first state, or in some
families the mean of all, and layers that are read as those after a pooling.

``problem_type`` chooses the loss of a training and changes no logits, and dropout only acts in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from m3e_export.architectures import EncoderSpec
from m3e_export.architectures.layers import linear_weights, norm_weights
from m3e_export.architectures.settings import flag, refuse_variants
from m3e_export.architectures.tensors import TensorLookup, Tensors
from m3e_export.checkpoint.head import LAYER_NORM_EPS, HeadLayer, LayerNorm
from m3e_export.checkpoint.pooling import Dense, DenseActivation, activation_of_class, pooler_layer
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_runtime.manifest import Activation

__all__ = ["classifier_pooling", "is_classifier", "read_activation", "read_classifier", "read_labels"]

_SUFFIX = "ForSequenceClassification"
_DEFAULT_LABELS = 2  # PretrainedConfig's
_MOST_LABELS = 1 << 16  # outputs of a layer; the limit of the native engine

# What follows the encoder's pooler if there is one: names of linear layers and their activations.
_OwnLayers = tuple[tuple[str, DenseActivation], ...]
_AFTER_POOLER: _OwnLayers = (("classifier", "identity"),)
_ROBERTA: _OwnLayers = (("classifier.dense", "tanh"), ("classifier.out_proj", "identity"))
_DISTILBERT: _OwnLayers = (("pre_classifier", "relu"), ("classifier", "identity"))
_EUROBERT: _OwnLayers = (("dense", "gelu"), ("classifier", "identity"))
_LAYERS: dict[str, _OwnLayers] = {
    "albert": _AFTER_POOLER,
    "bert": _AFTER_POOLER,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "ernie": _AFTER_POOLER,
    "eurobert": _EUROBERT,
    "gte": _AFTER_POOLER,
    "jina_bert": _AFTER_POOLER,
    "mpnet": _ROBERTA,
    "new": _AFTER_POOLER,
    "nomic_bert": _AFTER_POOLER,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}

# classifier_pooling by family; the first is the default. EuroBERT's "late" pools the logits.
_POOLINGS: dict[str, dict[str, str | None]] = {
    "modernbert": {"cls": "cls", "mean": "mean"},
    "eurobert": {"late": None, "bos": "cls", "mean": "mean"},
}


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether ``config``, the content of config.json, names a class for sequence classification."""
    named = config.get("architectures")
    return isinstance(named, list) and any(str(name).endswith(_SUFFIX) for name in named)


def read_labels(file: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels in the order of the logits: ``id2label``, or LABEL_0, LABEL_1 … for ``num_labels``.

    Args:
        file: the path of config.json, for messages.
        config: its content.

    Raises:
        CheckpointError: the labels are not numbered from 0 on, or their number is not valid.
    """
    named = config.get("id2label")
    if named is None:
        count = config.get("num_labels", _DEFAULT_LABELS)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST_LABELS:
            raise CheckpointError(f"{file}: num_labels is {count!r}; 1 to {_MOST_LABELS} was expected.")
        return tuple(f"LABEL_{number}" for number in range(count))
    if not isinstance(named, dict) or not 1 <= len(named) <= _MOST_LABELS:
        raise CheckpointError(f"{file}: id2label must map numbers to 1 to {_MOST_LABELS} labels.")
    try:
        return tuple(str(named[str(number)]) for number in range(len(named)))
    except KeyError as error:
        raise CheckpointError(
            f"{file}: id2label lacks the label {error.args[0]}; labels are numbered from 0 on."
        ) from error


def read_activation(
    file: Path, config: Mapping[str, Any], labels: int, given: object = None, source: Path | None = None
) -> Activation:
    """What CrossEncoder applies to the logits: the checkpoint's choice, or sigmoid to a single logit.

    Args:
        file: the path of config.json, for messages.
        config: its content. Versions 4 and 5 wrote ``sentence_transformers.activation_fn``, and earlier ones
            ``sbert_ce_default_activation_function``.
        labels: the number of labels.
        given: ``activation_fn`` of config_sentence_transformers.json, which later versions write.
        source: the path of that file.

    Raises:
        UnsupportedModelError: the activation is not supported; the message names it.
    """
    name, where = given, source or file
    if name is None:
        name, where = _of_config(config), file
    if name is None:
        return "sigmoid" if labels == 1 else "identity"
    found = activation_of_class(str(name))
    known: Activation | None = next((each for each in get_args(Activation) if each == found), None)
    if known is None:
        raise UnsupportedModelError(
            f"{where}: the activation {name!r} is not supported, and code of checkpoints is never run; "
            "known: torch.nn.Identity and torch.nn.Sigmoid."
        )
    return known


def _of_config(config: Mapping[str, Any]) -> object:
    settings = config.get("sentence_transformers")
    if isinstance(settings, dict) and "activation_fn" in settings:
        return settings["activation_fn"]
    return config.get("sbert_ce_default_activation_function")


def classifier_pooling(file: Path, config: Mapping[str, Any]) -> str:
    """The pooling before the layers of :func:`read_classifier`.

    Args:
        file: the path of config.json, for messages.
        config: its content.

    Raises:
        UnsupportedModelError: the pooling is not supported; the message names it.
    """
    known = _POOLINGS.get(str(config.get("model_type")), {"cls": "cls"})
    name = config.get("classifier_pooling", next(iter(known))) if len(known) > 1 else "cls"
    found = known.get(str(name))
    if found is None:
        supported = ", ".join(repr(each) for each, pooling in known.items() if pooling)
        raise UnsupportedModelError(
            f"{file}: classifier_pooling {name!r} is not supported; known: {supported}."
        )
    return found


def read_classifier(
    config: Mapping[str, Any], spec: EncoderSpec, tensors: Tensors, labels: int
) -> tuple[HeadLayer, ...]:
    """The layers after the pooling, including the encoder's pooler if the family uses it.

    Raises:
        CheckpointError: a tensor is missing, not finite, or its shape differs from config.json.
        UnsupportedModelError: the activation or a variant is not supported.
    """
    if spec.model_type == "modernbert":
        return _modernbert(config, spec, tensors, labels)
    own = _LAYERS[spec.model_type]
    lookup = TensorLookup(tensors, f"{own[0][0]}.weight")
    layers: list[HeadLayer] = [pooler_layer(spec.hidden, tensors)] if own is _AFTER_POOLER else []
    for place, (name, activation) in enumerate(own):
        outputs = labels if place == len(own) - 1 else spec.hidden
        linear = linear_weights(lookup, name, name, spec.hidden, outputs)
        layers.append(Dense(linear.weight, linear.bias, activation))
    return tuple(layers)


def _modernbert(
    config: Mapping[str, Any], spec: EncoderSpec, tensors: Tensors, labels: int
) -> tuple[HeadLayer, ...]:
    """ModernBertPredictionHead and the classifier."""
    refuse_variants(config, {"classifier_activation": ("gelu",), "norm_eps": (LAYER_NORM_EPS,)})
    lookup = TensorLookup(tensors, "head.dense.weight")
    bias = flag(config, "classifier_bias", False)
    dense = linear_weights(lookup, "head.dense", "head.dense", spec.hidden, spec.hidden, bias)
    norm = norm_weights(lookup, "head.norm", spec.hidden, flag(config, "norm_bias", False))
    classifier = linear_weights(lookup, "classifier", "classifier", spec.hidden, labels)
    return (
        Dense(dense.weight, dense.bias, "gelu"),
        LayerNorm(norm.gamma, norm.beta),
        Dense(classifier.weight, classifier.bias, "identity"),
    )
