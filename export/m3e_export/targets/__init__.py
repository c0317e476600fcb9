"""Targets: each is an engine that artifacts are written for.

:mod:`base` says what a target does, :mod:`registry` lists them. ``native``, ``onnx``, ``cuda`` and
``tensorrt`` hold one each.
"""

from m3e_export.targets.base import Target
from m3e_export.targets.registry import TARGETS, default_targets

__all__ = ["TARGETS", "Target", "default_targets"]
