"""What a child of ``fork()`` cannot do as its parent did."""

from __future__ import annotations

import os

_SWITCH = "TOKENIZERS_PARALLELISM"


def _tokenize_in_one_thread() -> None:
    """Tell ``tokenizers`` so: its threads are the parent's, and the child would wait for them for ever.

    It does that itself, except where the variable asks for threads. It reads the variable at each call.
    """
    if _SWITCH in os.environ:
        os.environ[_SWITCH] = "false"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tokenize_in_one_thread)
