"""Packing matrices into panels of sixteen output channels, as the native kernels read them.

An int8 panel has, for every four inputs, the four weights of channel 0, then those of channel 1, and so on.
These 64 bytes are one step of a four-way dot product on every instruction set, and a row of an AMX tile. A
float panel has the sixteen weights of input 0, then those of input 1, and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PANEL", "alternate_halves", "pack_codes", "pack_floats", "pad_outputs"]

PANEL = 16
_STEP = 4
_INPUTS_ALIGN = 64


def pack_codes(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """``[inputs, outputs]`` → ``[outputs / 16, inputs / 4, 16, 4]``, inputs padded to 64 with zeros."""
    inputs, outputs = codes.shape
    padded = np.zeros((_round_up(inputs, _INPUTS_ALIGN), _round_up(outputs, PANEL)), np.int8)
    padded[:inputs, :outputs] = codes
    steps = padded.reshape(len(padded) // _STEP, _STEP, -1, PANEL)
    return np.ascontiguousarray(steps.transpose(2, 0, 3, 1))


def pack_floats(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``[inputs, outputs]`` → ``[outputs / 16, inputs, 16]``, of the same dtype."""
    padded = pad_outputs(weight)
    return np.ascontiguousarray(padded.reshape(len(weight), -1, PANEL).transpose(1, 0, 2))


def alternate_halves(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``values`` with the panels of both halves of the last axis in turns, ``[…, 2 · padded half]``.

    Panel ``2 i`` of a gated matrix then holds columns that pass the activation, and panel ``2 i + 1`` their
    factors. Each half is padded with zeros to whole panels.
    """
    halves = pad_outputs(values.reshape(*values.shape[:-1], 2, -1))
    panels = halves.reshape(*halves.shape[:-1], -1, PANEL)
    return np.ascontiguousarray(np.swapaxes(panels, -3, -2)).reshape(*values.shape[:-1], -1)


def pad_outputs(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``values`` with the last axis padded with zeros to a multiple of 16."""
    missing = _round_up(values.shape[-1], PANEL) - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
