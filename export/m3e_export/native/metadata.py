"""The encoder's entries in the metadata of native weights: ``runtime/native/src/weights.cpp`` reads them.

What the encoders have in common with BERT has no entry, so that equal weights keep equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from m3e_export.architectures import EncoderSpec, EncoderWeights, LayerAttention

__all__ = ["FORMAT_VERSION", "encoder_metadata"]

FORMAT_VERSION = "3"


def encoder_metadata(
    spec: EncoderSpec, weights: EncoderWeights, pooling: str, normalize: bool
) -> dict[str, str]:
    """The entries of an encoder whose ``pooling`` is named as the engine names it.

    Raises:
        ValueError: another layer than the first lacks its first normalization; the format has no entry for
            that.
    """
    return {
        **_sizes(spec),
        "pooling": pooling,
        "normalize": str(normalize).lower(),
        **_embedding_entries(spec, weights),
        **_layer_entries(spec, weights),
        **_attention_entries(spec, weights),
    }


def _sizes(spec: EncoderSpec) -> dict[str, str]:
    return {
        "format": "m3e-native",
        "version": FORMAT_VERSION,
        "layers": str(spec.layers),
        "hidden": str(spec.hidden),
        "heads": str(spec.heads),
        "intermediate": str(spec.intermediate),
        "activation": spec.activation,
        "vocabulary": str(spec.vocab_size),
        "positions": str(spec.max_positions),
        "norm_eps": repr(spec.norm_eps),
    }


def _embedding_entries(spec: EncoderSpec, weights: EncoderWeights) -> dict[str, str]:
    entries: dict[str, str] = {}
    if not spec.learned_positions:
        entries["position_table"] = "one"
    elif spec.skips_padding:
        entries["padding"] = str(spec.pad_token_id)
    if weights.relative_bias is not None:
        entries["attention_bias"] = "relative"
    if weights.token_type_embeddings is not None:
        entries["token_types"] = str(len(weights.token_type_embeddings) + 1)
    if weights.embedding_projection is not None:
        entries["embedding"] = str(spec.embedding_size)
    if weights.embedding_norm is None:
        entries["embedding_norm"] = "none"
    return entries


def _layer_entries(spec: EncoderSpec, weights: EncoderWeights) -> dict[str, str]:
    entries: dict[str, str] = {}
    stored = weights.stored_layers()
    if len(stored) < spec.layers:
        entries["layer_weights"] = ",".join(map(str, _layer_weights(weights)))
    if spec.norm_kind == "rms":
        entries["norm_kind"] = "rms"
    if spec.norm_first:
        entries["norm_place"] = "before"
    if spec.gated:
        entries["feed_forward"] = "gated"
    lacking = [index for index, layer in enumerate(stored) if layer.attention_norm is None]
    if lacking == [0]:
        entries["first_norm"] = "none"
    elif lacking:
        raise ValueError(f"layers {lacking} have no first normalization; only the first may lack it.")
    if any(layer.query_norm is not None for layer in stored):
        entries["query_key_norm"] = "hidden"
    if any(layer.second_norm is not None for layer in stored):
        entries["second_norm"] = "yes"
    if weights.final_norm is not None:
        entries["final_norm"] = "yes"
    return entries


def _layer_weights(weights: EncoderWeights) -> Iterator[int]:
    """The index of the stored layer that each layer uses."""
    numbers = {id(layer): number for number, layer in enumerate(weights.stored_layers())}
    return (numbers[id(layer)] for layer in weights.layers)


def _attention_entries(spec: EncoderSpec, weights: EncoderWeights) -> dict[str, str]:
    entries: dict[str, str] = {}
    if not all(attention.full for attention in spec.layer_attention):
        entries["attention_spans"] = ",".join(map(_span, spec.layer_attention))
    if weights.rotary_tables is not None:
        entries["rotary"] = str(weights.rotary_tables.shape[2])
        entries["rotary_layers"] = ",".join(_or_dash(each.rotary) for each in spec.layer_attention)
    return entries


def _span(attention: LayerAttention) -> str:
    return f"{_or_dash(attention.before)}:{_or_dash(attention.after)}"


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)
