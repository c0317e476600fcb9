"""Rotary positions: frequencies from ``config.json``, and the tables of :class:`EncoderWeights`.

The arithmetic is that of transformers (``modeling_rope_utils.py``) in float32, step by step, so that angles
of thousands of radians are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from m3e_export.architectures.settings import Config, positive_float
from m3e_export.architectures.tensors import Array
from m3e_export.errors import CheckpointError, UnsupportedModelError

__all__ = ["frequencies", "half_split", "rope_frequencies", "rope_settings", "rotary_table"]

_KNOWN = ("rope_type", "type", "rope_theta", "factor", "partial_rotary_factor")


def frequencies(base: float, dimensions: int) -> Array:
    """Angles per position of the pairs of columns, ``base^(-2k/dimensions)``: float32 ``[dimensions / 2]``.

    See https://arxiv.org/abs/2104.09864, section 3.2.2.
    """
    exponents = np.arange(0, dimensions, 2, dtype=np.float32) / np.float32(dimensions)
    powers: Array = np.power(np.float64(base), exponents.astype(np.float64)).astype(np.float32)
    return np.float32(1) / powers


def rotary_table(of_pairs: Array, positions: int) -> Array:
    """One table of :attr:`EncoderWeights.rotary_tables`, float32 ``[positions, dimensions]``.

    ``of_pairs`` is from :func:`frequencies`.
    """
    angles = np.arange(positions, dtype=np.float32)[:, None] * of_pairs
    exact = angles.astype(np.float64)
    return np.concatenate([np.cos(exact), np.sin(exact)], axis=1).astype(np.float32)


def half_split(heads: int, head_size: int, dimensions: int) -> npt.NDArray[np.int64]:
    """The order of columns in which the pairs ``(2k, 2k + 1)`` of a head become ``(k, k + dimensions / 2)``.

    The columns of all heads are permuted alike in queries and keys, so their products stay.
    """
    pairs = np.arange(dimensions).reshape(-1, 2).T.reshape(-1)
    one = np.concatenate([pairs, np.arange(dimensions, head_size)])
    order: npt.NDArray[np.int64] = (np.arange(heads)[:, None] * head_size + one).reshape(-1)
    return order


def rope_settings(config: Config, default_base: float | None = None) -> dict[str, Any]:
    """The rotation that transformers' configuration class makes of ``config``.

    Args:
        config: the content of config.json.
        default_base: the base of a file without one. None makes it an error, for families whose code on the
            hub has another default than transformers.

    Returns:
        ``rope_parameters``, or ``rope_scaling`` in older files, with ``rope_theta``.

    Raises:
        CheckpointError: the value is not an object.
    """
    found = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"config.json: rope_parameters is {found!r}; an object was expected.")
    base, partial = config.get("rope_theta", default_base), config.get("partial_rotary_factor")
    return {"rope_theta": base, "partial_rotary_factor": partial, **found}


def rope_frequencies(settings: Mapping[str, Any], dimensions: int) -> Array:
    """The frequencies that ``settings`` of :func:`rope_settings` describe, float32 ``[dimensions / 2]``.

    Raises:
        CheckpointError: a number is not valid.
        UnsupportedModelError: the type of scaling is not supported; the message names it.
    """
    kind = settings.get("rope_type", settings.get("type", "default"))
    unknown = sorted(set(settings) - set(_KNOWN))
    if kind not in ("default", "linear") or unknown:
        named = ", ".join(unknown) if kind in ("default", "linear") else f"rope_type {kind!r}"
        raise UnsupportedModelError(
            f"config.json: {named} is not supported in rope_parameters; known: rope_type 'default' and "
            "'linear' with rope_theta and factor."
        )
    partial = settings.get("partial_rotary_factor")
    if partial not in (None, 1.0):
        raise UnsupportedModelError(
            f"config.json: partial_rotary_factor {partial!r} is not supported; known: 1.0."
        )
    found = frequencies(positive_float(settings, "rope_theta"), dimensions)
    return found if kind == "default" else found / np.float32(positive_float(settings, "factor"))
