"""Reading a trained checkpoint: layouts, weights, tokenizer."""

from m3e_export.checkpoint.base import BaseCheckpoint
from m3e_export.checkpoint.load import Checkpoint, load_checkpoint

__all__ = ["BaseCheckpoint", "Checkpoint", "load_checkpoint"]
