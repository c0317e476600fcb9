"""The hubs by name. The client of a hub is imported on use."""

from __future__ import annotations

from typing import Literal

from m3e_export.errors import OptionError
from m3e_export.hubs.hub import Hub

__all__ = ["DEFAULT_HUB", "HUB_NAMES", "HubName", "hub_of"]

HubName = Literal["huggingface", "modelscope"]
HUB_NAMES: tuple[HubName, ...] = ("huggingface", "modelscope")
DEFAULT_HUB: HubName = "huggingface"


def hub_of(name: HubName) -> Hub:
    """The hub ``name``.

    Raises:
        DependencyMissingError: its client library is not installed.
        OptionError: there is no such hub.
    """
    if name == "huggingface":
        from m3e_export.hubs.huggingface import HuggingFace

        return HuggingFace()
    if name == "modelscope":
        from m3e_export.hubs.modelscope import ModelScope

        return ModelScope()
    raise OptionError(f"--hub {name}: choose from {', '.join(HUB_NAMES)}.")
