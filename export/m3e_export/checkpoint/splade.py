"""SparseEncoder folders (SPLADE): a masked language model whose logits become weights of terms.

The folder has the modules Transformer (task ``fill-mask``; MLMTransformer before version 6) and
SpladePooling. Sources: ``sentence_transformers/sparse_encoder/modules/splade_pooling.py``, version 6.2, and
https://arxiv.org/abs/2109.10086; the heads are those of ``…ForMaskedLM`` in transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3e_export.architectures import Activation, EncoderSpec, EncoderWeights, Linear, Norm
from m3e_export.architectures.layers import linear_weights, norm_weights
from m3e_export.architectures.tensors import TensorLookup, Tensors
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.module_entry import ModuleEntry
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["ALIASES", "SpladeConfig", "TermHead", "read_splade_config", "read_term_head"]

_OLD, _NEW = "sentence_transformers.sparse_encoder.models", "sentence_transformers.sparse_encoder.modules"
ALIASES = {
    f"{_NEW}.splade_pooling.SpladePooling": "sentence_transformers.SpladePooling",
    f"{_NEW}.mlm_transformer.MLMTransformer": "sentence_transformers.MLMTransformer",
    **{
        f"{_OLD}.{kind}": f"sentence_transformers.{name}"
        for name in ("SpladePooling", "MLMTransformer")
        for kind in (name, f"{name}.{name}")
    },
}
"""The modules by all names that versions of sentence-transformers have written."""

_MODULES = (["Transformer", "SpladePooling"], ["MLMTransformer", "SpladePooling"])
_LOGARITHMS = {"relu": 1, "log1p_relu": 2}
_WITHOUT_EFFECT = ("embedding_dimension", "word_embedding_dimension", "chunk_size")


@dataclass(frozen=True)
class SpladeConfig:
    """``logarithms`` says how often log(1 + x) is applied. ``old`` is the module's name before version 6."""

    logarithms: int
    old: bool


@dataclass(frozen=True)
class TermHead:
    """What follows the encoder: ``decoder(norm(activation(transform(x))))`` are logits of the vocabulary.

    The largest logit of a text's tokens, at least 0, passes log(1 + x) ``logarithms`` times and is the weight
    of a term. ``transform`` is ``[hidden, hidden]``, ``decoder`` ``[hidden, vocabulary]``.
    """

    transform: Linear
    activation: Activation
    norm: Norm
    decoder: Linear
    logarithms: int


@dataclass(frozen=True)
class _Names:
    """The names of a family's head. The activation is the encoder's, or always GELU."""

    transform: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    gelu: bool = False


_BERT = _Names(
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions.decoder.weight",
    ("cls.predictions.bias", "cls.predictions.decoder.bias"),
)
_ROBERTA = _Names(
    "lm_head.dense",
    "lm_head.layer_norm",
    "lm_head.decoder.weight",
    ("lm_head.bias", "lm_head.decoder.bias"),
    gelu=True,
)
_FAMILIES = {
    "bert": _BERT,
    "camembert": _ROBERTA,
    "distilbert": _Names(
        "vocab_transform", "vocab_layer_norm", "vocab_projector.weight", ("vocab_projector.bias",)
    ),
    "ernie": _BERT,
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}


def read_splade_config(folder: Path, modules: Sequence[ModuleEntry]) -> SpladeConfig:
    """The settings of the SpladePooling among ``modules``, which are those of ``folder``.

    Raises:
        UnsupportedModelError: other modules or another pooling; the message names them.
    """
    kinds = [kind for kind, _ in modules]
    if kinds not in _MODULES:
        raise UnsupportedModelError(
            f"{folder / 'modules.json'}: the modules {' → '.join(kinds) or '(none)'} of a SparseEncoder are "
            "not supported; a Transformer and a SpladePooling are."
        )
    file = modules[1][1] / "config.json"
    settings = {key: value for key, value in read_object(file).items() if key not in _WITHOUT_EFFECT}
    pooling = settings.pop("pooling_strategy", "max")
    activation = settings.pop("activation_function", "relu")
    if settings:
        raise UnsupportedModelError(f"{file}: the setting {next(iter(settings))!r} is not supported.")
    if pooling != "max":
        raise UnsupportedModelError(f"{file}: pooling_strategy {pooling!r} is not supported; known: 'max'.")
    if activation not in _LOGARITHMS:
        known = ", ".join(map(repr, _LOGARITHMS))
        raise UnsupportedModelError(
            f"{file}: activation_function {activation!r} is not supported; known: {known}."
        )
    return SpladeConfig(_LOGARITHMS[activation], old=kinds[0] == "MLMTransformer")


def read_term_head(
    given: SpladeConfig,
    config: Mapping[str, Any],
    spec: EncoderSpec,
    weights: EncoderWeights,
    tensors: Tensors,
) -> TermHead:
    """The head of a masked language model. The decoder is the word embeddings unless config.json unties it.

    Raises:
        CheckpointError: a tensor is missing, not finite, or of another shape.
        UnsupportedModelError: the family's head is not supported.
    """
    names = _FAMILIES.get(spec.model_type)
    if names is None:
        raise UnsupportedModelError(
            f"a SparseEncoder of model_type {spec.model_type!r} is not supported; known: "
            f"{', '.join(_FAMILIES)}."
        )
    if f"{names.transform}.weight" not in tensors:
        raise CheckpointError(
            f"the checkpoint has no tensor '{names.transform}.weight', so it has no trained masked language "
            "model."
        )
    lookup = TensorLookup(tensors, f"{names.transform}.weight")
    bias_name = next((name for name in names.biases if lookup.has(name)), names.biases[0])
    table = weights.word_embeddings
    if not config.get("tie_word_embeddings", True):
        table = lookup.get(names.decoder, spec.vocab_size, spec.hidden)
    return TermHead(
        linear_weights(lookup, names.transform, "term_transform", spec.hidden, spec.hidden),
        "gelu" if names.gelu else spec.activation,
        norm_weights(lookup, names.norm, spec.hidden),
        Linear("term_decoder", table.T, lookup.get(bias_name, spec.vocab_size)),
        given.logarithms,
    )
