"""The layers of an engine, read from the builder's log, since an engine loads on its own GPU only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["EngineLayer", "read_layers"]

_LAYER = re.compile(r"^Name: (?P<name>.+?), LayerType: (?P<kind>\w+), Inputs: \[(?P<rest>.*)", re.MULTILINE)
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True)
class EngineLayer:
    """A kernel of an engine: its name, its kind, and the types of inputs, constants and outputs, in order."""

    name: str
    kind: str
    types: tuple[str, ...]

    @property
    def attends(self) -> bool:
        """Whether it is a fused attention: both products and the softmax between them."""
        return "mha" in self.name.lower()

    @property
    def multiplies_int8(self) -> bool:
        """Whether it is a matrix product whose inputs are 8-bit codes."""
        return self.types.count("Int8") >= 2


def read_layers(messages: Iterable[str]) -> tuple[EngineLayer, ...]:
    """The layers that the builder lists in its log (at ``ProfilingVerbosity.DETAILED``)."""
    return tuple(
        EngineLayer(found["name"], found["kind"], tuple(_TYPE.findall(found["rest"])))
        for message in messages
        for found in _LAYER.finditer(message)
    )
