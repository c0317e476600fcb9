"""Hubs that checkpoints are downloaded from."""

from m3e_export.hubs.choice import DEFAULT_HUB, HUB_NAMES, HubName, hub_of
from m3e_export.hubs.hub import Hub, Snapshot

__all__ = ["DEFAULT_HUB", "HUB_NAMES", "Hub", "HubName", "Snapshot", "hub_of"]
