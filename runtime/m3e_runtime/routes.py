"""Bundles of a model with a Router. Each holds one route; the task of a text selects the route."""

from __future__ import annotations

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Route

__all__ = ["check_task"]


def check_task(route: Route | None, task: str | None) -> None:
    """Check that texts of ``task`` use ``route``. None matches everything.

    Raises:
        OptionError: they use another route, which the message names.
    """
    if route is None or task is None or route.tasks.get(task, route.name) == route.name:
        return
    other = route.tasks[task]
    raise OptionError(
        f"{task!r} goes through the route {other!r} of this model, and this bundle is its route "
        f"{route.name!r}; encode with the bundle that `m3e-export --route {other}` writes."
    )
