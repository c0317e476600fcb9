"""sentence-transformers' WeightedLayerPooling, which pools a weighted mean of all layers' states."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.tensors import TensorLookup
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.pooling import pooling_spec
from m3e_export.checkpoint.weights import load_tensors
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["read_state_weights"]

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]


def read_state_weights(
    folder: Path | None, config: Mapping[str, Any], layers: int, pooling: str
) -> Array | None:
    """The weights of the states of the embeddings and each layer, float32 ``[layers + 1]``.

    Args:
        folder: the folder of the WeightedLayerPooling module, or None.
        config: the content of the transformer's config.json.
        layers: the number of layers.
        pooling: the name of the pooling that follows.

    Returns:
        None if only the states of the last layer are pooled.

    Raises:
        CheckpointError: a file is missing or broken, or the weights are not valid.
        UnsupportedModelError: the pooling uses other states than the last.
    """
    if folder is None:
        return None
    if not config.get("output_hidden_states"):
        logger.warning(
            "%s: ignored, as in sentence-transformers, because config.json has no output_hidden_states.",
            folder,
        )
        return None
    spec = pooling_spec(pooling)
    if spec.early is not None or spec.pooler:
        raise UnsupportedModelError(f"the pooling {pooling!r} is not supported after WeightedLayerPooling.")
    return _shares(folder, layers)


def _shares(folder: Path, layers: int) -> Array:
    file = folder / "config.json"
    settings = read_object(file, required=True)
    start, counted = settings.get("layer_start", 4), settings.get("num_hidden_layers", 12)  # the defaults
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start <= layers:
        raise CheckpointError(f"{file}: layer_start is {start!r}; an integer from 0 to {layers} is expected.")
    if counted != layers:
        raise CheckpointError(f"{file}: num_hidden_layers is {counted!r}; the model has {layers} layers.")
    name = "layer_weights"
    weights = TensorLookup(load_tensors(folder).arrays, name).get(name, layers + 1 - start)
    total = weights.sum()
    if not total:
        raise CheckpointError(f"{folder}: the sum of {name} is zero.")
    return np.concatenate([np.zeros(start, np.float32), weights / total]).astype(np.float32)
