"""Support for processes made by ``fork()``."""

from __future__ import annotations

import os

_SWITCH = "TOKENIZERS_PARALLELISM"


def _tokenize_in_one_thread() -> None:
    """Turn off the threads of ``tokenizers`` in a child, where they do not exist: it would wait forever.

    ``tokenizers`` does so itself unless TOKENIZERS_PARALLELISM asks for threads. It reads the variable at
    each call.
    """
    if _SWITCH in os.environ:
        os.environ[_SWITCH] = "false"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tokenize_in_one_thread)
