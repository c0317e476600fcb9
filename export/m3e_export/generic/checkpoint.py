"""The files around a model of any family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from tokenizers import Tokenizer

from m3e_export.checkpoint import BaseCheckpoint
from m3e_export.checkpoint.head import HeadLayer, dimension_of, read_head
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.licence import licence
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.checkpoint.sentence_config import SHORTEST, Pooling, SentenceConfig, read_sentence_config
from m3e_export.checkpoint.source import Origin, source_name
from m3e_export.checkpoint.tokenizer import special_token_names, tokenizer_length
from m3e_export.errors import CheckpointError, OptionError, UnsupportedModelError
from m3e_export.hubs import DEFAULT_HUB, HubName

__all__ = ["GenericCheckpointFiles"]

# Families in which the first token has the position after the padding id, as in RoBERTa.
_AFTER_PADDING = (
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
_DEFAULT_PAD = 1  # the default of those families' configuration classes
_WIDTH_KEYS = ("hidden_size", "dim", "d_model", "emb_dim")


@dataclass(frozen=True)
class GenericCheckpointFiles:
    """A checkpoint folder: its sentence config, and the content of its transformer's config.json.

    ``source`` is what the user calls it, ``pooling`` the one that the user has given, ``max_length`` is in
    tokens.
    """

    source: str
    origin: Origin
    sentence_config: SentenceConfig
    config: dict[str, Any]
    pooling: Pooling | None
    max_length: int

    @staticmethod
    def read(
        source: str,
        origin: Origin,
        pooling: Pooling | None,
        max_length: int | None,
        route: str | None = None,
        hub: HubName = DEFAULT_HUB,
    ) -> GenericCheckpointFiles:
        """Read the small files. ``pooling`` and ``max_length`` replace what they say.

        ``route`` is the route to follow in a Router. ``hub`` has the base model of an adapter.

        Raises:
            CheckpointError: a file is missing or broken, or no file says how long a text may be. Subclasses:
                the model is not supported or not trusted.
            OptionError: the model does not support this maximum length.
        """
        folder = origin.folder
        sentence_config = read_sentence_config(folder, pooling, route, hub)
        if not sentence_config.include_prompt:
            raise UnsupportedModelError(
                f"{folder}: include_prompt=false is not supported by this exporter; use --exporter own for "
                "the families that are built in."
            )
        if sentence_config.labels:
            raise UnsupportedModelError(
                f"{folder}: rerankers and classifiers are not supported by this exporter; use --exporter own "
                "for the families that are built in, or set --pooling to export the encoder."
            )
        if not sentence_config.gives_dense:
            kind = "SparseEncoder" if sentence_config.splade else "MultiVectorEncoder"
            raise UnsupportedModelError(
                f"{folder}: a {kind} is not supported by this exporter; use --exporter own for the families "
                "that are built in."
            )
        if sentence_config.state_weights is not None:
            raise UnsupportedModelError(
                f"{sentence_config.state_weights}: WeightedLayerPooling needs the states of all "
                "layers, and this graph gives the last ones only; use --exporter own for the families that "
                "are built in."
            )
        config = read_object(sentence_config.transformer / "config.json", required=True)
        return GenericCheckpointFiles(
            source, origin, sentence_config, config, pooling, _max_length(sentence_config, config, max_length)
        )

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        return self.origin.folder

    @property
    def model_type(self) -> str:
        """The model's family in config.json."""
        return str(self.config.get("model_type", "unknown"))

    def width(self, value: ir.Value | None) -> int:
        """The last dimension of the graph's output ``value``, or the width of the states in config.json.

        Raises:
            CheckpointError: neither is known.
        """
        last = value.shape[-1] if value is not None and value.shape else None
        sizes = (last, *(self.config.get(key) for key in _WIDTH_KEYS))
        found = next((size for size in sizes if isinstance(size, int)), None)
        if found is None:
            raise CheckpointError(
                f"{self.folder}: neither the graph nor config.json gives the width of the states."
            )
        return found

    def checkpoint(
        self, tokenizer: Tokenizer, weights_sha256: str, *, hidden: int, dimension: int | None = None
    ) -> BaseCheckpoint:
        """The checkpoint around a model.

        Args:
            tokenizer: the tokenizer.
            weights_sha256: SHA-256 of the weights.
            hidden: width of the states.
            dimension: length of the sentence vectors if the graph outputs them; layers after the pooling
                are then not read.

        Raises:
            CheckpointError: a Dense module is missing or broken.
            UnsupportedModelError: the pooling needs more than the last states.
        """
        sentence_config, dense = self.sentence_config, self._dense(hidden) if dimension is None else ()
        pad = self.config.get("pad_token_id")
        return BaseCheckpoint(
            source=source_name(self.source, self.folder),
            origin=self.origin,
            sentence_config=sentence_config,
            config=self.config,
            model_type=self.model_type,
            hidden=hidden,
            dimension=dimension or dimension_of(sentence_config.pooling, hidden, dense),
            weights_sha256=weights_sha256,
            tokenizer=tokenizer,
            special_tokens=special_token_names(sentence_config.tokenizer, tokenizer, self.model_type),
            max_length=self.max_length,
            pad_token_id=pad if isinstance(pad, int) and pad >= 0 else 0,
            licence=licence(self.folder, self.source, sentence_config, self.config),
            dense=dense,
        )

    def _dense(self, hidden: int) -> tuple[HeadLayer, ...]:
        spec = pooling_spec(self.sentence_config.pooling)
        if spec.early is not None or spec.pooler:
            raise UnsupportedModelError(
                f"the pooling {spec.name!r} needs more than the last states, which are all that this graph "
                "gives; choose another with --pooling."
            )
        return read_head(spec.name, self.sentence_config.dense, hidden, {})


def _max_length(sentence_config: SentenceConfig, config: Mapping[str, Any], wanted: int | None) -> int:
    """The smallest of the limits of sentence config, tokenizer and position table."""
    limits = sentence_config.max_seq_length or tokenizer_length(sentence_config.tokenizer), _positions(config)
    known = [limit for limit in limits if limit is not None]
    if not known:
        raise CheckpointError(
            f"{sentence_config.transformer}: no file gives the maximum length of a text; add max_seq_length "
            "to sentence_bert_config.json."
        )
    if wanted is not None and not SHORTEST <= wanted <= min(known):
        raise OptionError(f"max_length={wanted}: the model takes {SHORTEST} to {min(known)} tokens.")
    return wanted or min(known)


def _positions(config: Mapping[str, Any]) -> int | None:
    """The number of tokens that the position table supports; None if config.json has no such table."""
    rows = config.get("max_position_embeddings")
    if isinstance(rows, bool) or not isinstance(rows, int):
        return None
    if config.get("model_type") in _AFTER_PADDING:
        pad = config.get("pad_token_id")
        rows -= (pad if isinstance(pad, int) else _DEFAULT_PAD) + 1
    return rows if rows >= SHORTEST else None
