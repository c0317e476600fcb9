"""Bundles of a model with a Router: each is one of its routes, and the task of a text chooses among them."""

from __future__ import annotations

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Route

__all__ = ["check_task"]


def check_task(route: Route | None, task: str | None) -> None:
    """Check that texts of ``task`` go through ``route``; None of either is for everything.

    Raises:
        OptionError: they go through another route, which the message names.
    """
    if route is None or task is None or route.tasks.get(task, route.name) == route.name:
        return
    other = route.tasks[task]
    raise OptionError(
        f"{task!r} goes through the route {other!r} of this model, and this bundle is its route "
        f"{route.name!r}; encode with the bundle that `m3e-export --route {other}` writes."
    )
