"""The option ``--hub`` of every command that takes a checkpoint."""

from __future__ import annotations

import argparse

from m3e_export.hubs.choice import DEFAULT_HUB, HUB_NAMES

__all__ = ["add_hub_option"]


def add_hub_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--hub``."""
    parser.add_argument(
        "--hub",
        choices=HUB_NAMES,
        default=DEFAULT_HUB,
        help="the hub to download from; set HF_ENDPOINT to use a mirror of the Hugging Face hub "
        f"(default: {DEFAULT_HUB})",
    )
