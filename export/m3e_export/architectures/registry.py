"""The families by ``model_type``. A new family is entered here."""

from __future__ import annotations

from typing import Protocol

from m3e_export.architectures import (
    albert,
    bert,
    distilbert,
    ernie,
    eurobert,
    gte,
    jina_bert,
    modernbert,
    mpnet,
    nomic_bert,
    roberta,
)
from m3e_export.architectures.custom_code import is_jina_bert
from m3e_export.architectures.encoder import EncoderSpec, EncoderWeights
from m3e_export.architectures.settings import Config
from m3e_export.architectures.tensors import Tensors
from m3e_export.errors import UnsupportedModelError

__all__ = ["Architecture", "architecture_for"]


class Architecture(Protocol):
    """A family: a module with these two functions."""

    def spec(self, config: Config) -> EncoderSpec:
        """Sizes from ``config.json``."""
        ...

    def weights(self, config: Config, spec: EncoderSpec, tensors: Tensors) -> EncoderWeights:
        """Weights from the checkpoint's tensors."""
        ...


_FAMILIES: dict[str, Architecture] = {
    "albert": albert,
    "bert": bert,
    "camembert": roberta,
    "distilbert": distilbert,
    "ernie": ernie,
    "eurobert": eurobert,
    "gte": gte,
    "jina_bert": jina_bert,
    "modernbert": modernbert,
    "mpnet": mpnet,
    "new": gte,
    "nomic_bert": nomic_bert,
    "roberta": roberta,
    "xlm-roberta": roberta,
}


def architecture_for(config: Config) -> Architecture:
    """The family of ``config["model_type"]``.

    Raises:
        UnsupportedModelError: the family is not supported; the message lists those that are.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in _FAMILIES:
        raise UnsupportedModelError(
            f"model_type {model_type!r} in config.json is not supported; known: {', '.join(_FAMILIES)}. "
            "For others, try --exporter torch, which exports models that give vectors of texts."
        )
    return jina_bert if is_jina_bert(config) else _FAMILIES[model_type]
