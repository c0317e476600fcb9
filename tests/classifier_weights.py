"""Native weights of classifiers, made by hand of those of an embedding model: what the format is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from m3e_export.native.packing import pack_floats, pad_outputs
from m3e_export.native.safetensors_file import write_safetensors

__all__ = ["Layer", "write_classifier"]

Layer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], str]
"""Weight ``[inputs, outputs]``, bias and activation of a layer after the pooling."""


def write_classifier(
    embedding: Path,
    to: Path,
    layers: Sequence[Layer] = (),
    types: npt.NDArray[np.float32] | None = None,
    changed: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> None:
    """The weights of ``embedding``, an fp32 artifact, with a head and token types.

    Args:
        embedding: an fp32 artifact.
        to: the file.
        layers: applied to the state of the first token.
        types: embeddings of the token types from 1 on, minus that of type 0: float32 ``[types - 1, width]``.
        changed: tensors in place of those of ``embedding``.
    """
    with safe_open(embedding, "np") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    tensors |= changed or {}
    metadata |= {"pooling": "cls", "normalize": "false"}
    if layers:
        metadata["dense"] = "+".join(f"{weight.shape[1]}:{activation}" for weight, _, activation in layers)
    for number, (weight, bias, _) in enumerate(layers):
        tensors[f"dense.{number}"] = pack_floats(weight)
        tensors[f"dense.{number}.bias"] = pad_outputs(bias)
    if types is not None:
        metadata["token_types"] = str(len(types) + 1)
        tensors["token_type_embeddings"] = types
    write_safetensors(to, tensors, metadata)
