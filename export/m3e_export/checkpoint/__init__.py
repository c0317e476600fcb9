"""Reading a trained checkpoint.

Read :mod:`load` first: it returns a :class:`Checkpoint`. :mod:`source` finds or downloads the folder,
:mod:`sentence_config` reads the files around the weights, :mod:`weights` the tensors and :mod:`tokenizer` the
tokenizer. :mod:`classification` has what is special to rerankers. A new pooling is added in :mod:`pooling`, a
new module after it in :mod:`head`.
"""

from m3e_export.checkpoint.base import BaseCheckpoint
from m3e_export.checkpoint.load import Checkpoint, load_checkpoint

__all__ = ["BaseCheckpoint", "Checkpoint", "load_checkpoint"]
