"""Models with routes: sentence-transformers' Router, which was called Asym before version 5.

A route, such as ``query``, is a list of modules that replace the router. Each route is an ordinary model and
becomes a bundle of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.module_entry import ModuleEntry, read_entry
from m3e_export.errors import CheckpointError, OptionError, UnsupportedModelError
from m3e_runtime.manifest import Route

__all__ = ["ROUTER_KINDS", "follow_route", "read_route"]

ROUTER_KINDS = ("Router", "Asym")
_FILES = ("router_config.json", "config.json")  # the second one before version 5
_TEXT = "text"
"""The modality that a bundle encodes."""


def follow_route(root: Path, modules: Sequence[ModuleEntry], route: str | None) -> list[ModuleEntry]:
    """Replace each router in ``modules`` by the modules of ``route``.

    Args:
        root: the checkpoint's folder, which contains all modules.
        modules: kinds and folders in the order of modules.json.
        route: the name of a route; None for a model without a router.

    Raises:
        CheckpointError: the file of a router is missing or broken.
        OptionError: the model does not have the route, or has no router.
        UnsupportedModelError: the model has a router, and no route is given.
        UntrustedCheckpointError: the path of a module leads out of ``root``.
    """
    if route is not None and not any(kind in ROUTER_KINDS for kind, _ in modules):
        raise OptionError(f"--route {route}: the model has no Router and no routes.")
    return [module for entry in modules for module in _followed(root, entry, route)]


def _followed(root: Path, entry: ModuleEntry, route: str | None) -> Iterator[ModuleEntry]:
    kind, folder = entry
    if kind not in ROUTER_KINDS:
        yield entry
        return
    file, structure, types, _ = _read(folder)
    names = ", ".join(sorted(structure))
    if route is None:
        raise UnsupportedModelError(
            f"{file}: the model has a {kind} with the routes {names}, and a bundle holds one route; "
            "export each with --route NAME, and encode with the bundle for the task."
        )
    if route not in structure:
        raise OptionError(f"--route {route}: the model has the routes {names}.")
    for name in structure[route]:
        module = types.get(str(name))
        if not isinstance(module, str):
            raise CheckpointError(f"{file}: the module {name!r} has no type or no name.")
        yield read_entry(file, root, folder, module, str(name))


def read_route(modules: Sequence[ModuleEntry], name: str | None) -> Route | None:
    """The route ``name`` of the first router in ``modules``, with the tasks of all routes.

    Raises:
        CheckpointError: the router's file is missing or broken.
        UnsupportedModelError: several routers map a task to different routes.
    """
    routers = [folder for kind, folder in modules if kind in ROUTER_KINDS]
    if name is None or not routers:
        return None
    found = [Route(name, *_tasks(folder)) for folder in routers]
    if any(other != found[0] for other in found):
        raise UnsupportedModelError(
            f"{routers[0]}: the model has {len(routers)} routers with different tasks, which is not "
            "supported."
        )
    return found[0]


def _tasks(folder: Path) -> tuple[dict[str, str], str | None]:
    """The route of each task for text, and the default route, as in sentence-transformers."""
    file, structure, _, config = _read(folder)
    given = config.get("parameters") or {}
    if not isinstance(given, dict):
        raise CheckpointError(f"{file}: parameters must be an object.")
    mapped = _mappings(file, given.get("route_mappings") or {}, structure)
    first = next(iter(structure)) if given.get("allow_empty_key", True) else None
    default = given.get("default_route") or first
    if default is not None and default not in structure:
        raise CheckpointError(f"{file}: default_route {default!r} is not a route.")
    tasks = {*structure, *(task for task, _ in mapped if task is not None)}
    routes = {task: _resolved(task, mapped, structure) for task in sorted(tasks)}
    return (
        {task: route for task, route in routes.items() if route is not None},
        _resolved(None, mapped, structure) or default,
    )


def _resolved(
    task: str | None, mapped: Mapping[tuple[str | None, Any], str], structure: Mapping[str, Any]
) -> str | None:
    for key in ((task, _TEXT), (task, None), (None, _TEXT), (None, None)):
        if key in mapped:
            return mapped[key]
    return next((name for name in (task, _TEXT) if name in structure), None)


def _mappings(file: Path, given: Any, structure: Mapping[str, Any]) -> dict[tuple[str | None, Any], str]:
    """``route_mappings``. Its keys are pairs of task and modality in Python's notation."""
    try:
        found = {ast.literal_eval(key): route for key, route in given.items()}
        pairs = all(isinstance(task, str | None) for task, _ in found)
    except (AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: route_mappings {given!r} cannot be read.") from error
    if not pairs or not all(isinstance(route, str) and route in structure for route in found.values()):
        raise CheckpointError(f"{file}: route_mappings {given!r} must map tasks to routes.")
    return found


def _read(folder: Path) -> tuple[Path, dict[str, list[Any]], dict[str, Any], dict[str, Any]]:
    """The file, its structure (module names by route), the modules' types, and the whole content."""
    file = next((folder / name for name in _FILES if (folder / name).is_file()), folder / _FILES[0])
    config = read_object(file, required=True)
    structure, types = config.get("structure"), config.get("types")
    lists = isinstance(structure, dict) and all(isinstance(each, list) for each in structure.values())
    if not lists or not structure or not isinstance(types, dict):
        raise CheckpointError(
            f"{file}: structure must map routes to lists of modules, and types must map modules to types."
        )
    return file, structure, types, config
