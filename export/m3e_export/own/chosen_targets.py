"""The targets of a request for one checkpoint."""

from __future__ import annotations

from m3e_export.checkpoint import Checkpoint
from m3e_export.errors import UnsupportedModelError
from m3e_export.request import ExportRequest
from m3e_export.targets import TARGETS, default_targets

__all__ = ["chosen_targets"]


def chosen_targets(request: ExportRequest, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The targets that ``request`` names, or those of the default that give an output of the model.

    Raises:
        UnsupportedModelError: a target gives no output of the model.
    """
    heads, wanted = checkpoint.token_heads, request.targets or default_targets()
    if heads is None or heads.dense:
        return wanted
    able = tuple(name for name in TARGETS if TARGETS[name].gives(heads))
    unable = [name for name in wanted if name not in able]
    if len(unable) == len(wanted) or (unable and request.targets):
        raise UnsupportedModelError(
            f"{checkpoint.source}: the model gives outputs of tokens or terms only, which --target "
            f"{' '.join(unable)} does not give; use --target {' or '.join(able)}."
        )
    return tuple(name for name in wanted if name in able)
