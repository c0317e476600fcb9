"""Models with routes: sentence-transformers' Router, and Asym, as it was called before version 5.

A route, such as ``query``, is a list of modules in the router's place. What one route computes is an ordinary
model, so each becomes a bundle of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.module_entry import ModuleEntry, read_entry
from m3e_export.errors import CheckpointError, OptionError, UnsupportedModelError

__all__ = ["follow_route"]

_KINDS = ("Router", "Asym")
_FILES = ("router_config.json", "config.json")  # the latter of old


def follow_route(root: Path, modules: Sequence[ModuleEntry], route: str | None) -> list[ModuleEntry]:
    """``modules`` with those of ``route`` in the place of each router.

    Args:
        root: the checkpoint's folder, which no module may lie outside of.
        modules: kinds and folders, as modules.json lists them.
        route: the name of a route; None for a model without a router.

    Raises:
        CheckpointError: a router's file is missing or broken.
        OptionError: a route that there is not, or one of a model without a router.
        UnsupportedModelError: a router, and no route is named.
        UntrustedCheckpointError: a module path that leads out of ``root``.
    """
    if route is not None and not any(kind in _KINDS for kind, _ in modules):
        raise OptionError(f"--route {route}: the model has no Router, and so no routes.")
    return [module for entry in modules for module in _followed(root, entry, route)]


def _followed(root: Path, entry: ModuleEntry, route: str | None) -> Iterator[ModuleEntry]:
    kind, folder = entry
    if kind not in _KINDS:
        yield entry
        return
    file, structure, types = _read(folder)
    names = ", ".join(sorted(structure))
    if route is None:
        raise UnsupportedModelError(
            f"{file}: the model has a {kind} with the routes {names}, which do not fit into one bundle; "
            "export each into a bundle of its own, with --route NAME, and encode with the one for the task."
        )
    if route not in structure:
        raise OptionError(f"--route {route}: the model has the routes {names}.")
    for name in structure[route]:
        module = types.get(str(name))
        if not isinstance(module, str):
            raise CheckpointError(f"{file}: says no type of the module {name!r}, or no name.")
        yield read_entry(file, root, folder, module, str(name))


def _read(folder: Path) -> tuple[Path, dict[str, list[Any]], dict[str, Any]]:
    """The file, the names of each route's modules, and their types."""
    file = next((folder / name for name in _FILES if (folder / name).is_file()), folder / _FILES[0])
    config = read_object(file, required=True)
    structure, types = config.get("structure"), config.get("types")
    lists = isinstance(structure, dict) and all(isinstance(each, list) for each in structure.values())
    if not lists or not structure or not isinstance(types, dict):
        raise CheckpointError(f"{file}: structure must map routes to lists of modules, types these to types.")
    return file, structure, types
