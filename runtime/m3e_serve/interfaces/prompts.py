"""Choosing the prompt, and the Router's route, from the fields of a request."""

from __future__ import annotations

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Route
from m3e_serve.errors import ApiError
from m3e_serve.models.served_model import ServedModel

__all__ = ["choose_prompt", "prompt_names"]

_QUERY = ("query", "search_query", "retrieval.query", "retrieval_query")
_DOCUMENT = (
    *("document", "passage", "corpus", "search_document"),
    *("retrieval.passage", "retrieval.document", "retrieval_document"),
)
"""Values that clients of Cohere, Jina, Voyage and Google send, and names of prompts in checkpoints. The first
name that a bundle has is used."""


def choose_prompt(model: ServedModel, **asked: str | None) -> tuple[ServedModel, str]:
    """The model to use, and the prompt to prepend to each text.

    Args:
        model: the model that the request names. If it has several routes, the task selects one.
        asked: values by field, at most one of them not None. The field ``prompt_name`` names a prompt. All
            other fields name the type of the texts, such as ``query``.

    Raises:
        ApiError: several fields have a value, or the bundle has no such prompt, or the route is not served.
    """
    given = {field: value for field, value in asked.items() if value is not None}
    if len(given) > 1:
        raise _invalid(" and ".join(given) + " have the same meaning; send one of them.", next(iter(given)))
    try:
        chosen = _route(model, *given.values())
        for field, value in given.items():
            return chosen, _find(chosen, field, value)
        return chosen, chosen.encoder.prefix(None, None)
    except OptionError as error:
        raise _invalid(str(error), next(iter(given), "prompt_name")) from error


def prompt_names(model: ServedModel) -> list[str]:
    """The accepted values of ``prompt_name``."""
    bundles = [each.encoder.bundle.manifest for each in (model.routes or {"": model}).values()]
    prompts = {name for bundle in bundles for name in bundle.prompts}
    tasks = {
        task
        for bundle in bundles
        if bundle.route is not None
        for task, route in bundle.route.tasks.items()
        if route in model.routes
    }
    return sorted(prompts | tasks)


def _route(model: ServedModel, value: str | None = None) -> ServedModel:
    """The route for ``value``. Values that name no task use the default route."""
    route = model.encoder.bundle.manifest.route
    if route is None:
        return model
    task = _task(route, value)
    if task is None and len(model.routes) == 1:
        return model
    name = route.default if task is None else route.tasks[task]
    if name is None:
        tasks = ", ".join(sorted(route.tasks))
        raise OptionError(f"the model has a route for each task; send prompt_name: one of {tasks}.")
    if name not in model.routes:
        what = "texts without a task use" if task is None else f"{task!r} uses"
        raise OptionError(
            f"{what} the route {name!r}, which is not served; available routes: {', '.join(model.routes)}."
        )
    return model.routes[name]


def _task(route: Route, value: str | None) -> str | None:
    if value is None:
        return None
    kind = value.lower()
    task = "query" if kind in _QUERY else "document" if kind in _DOCUMENT else None
    return next((name for name in (value, task) if name in route.tasks), None)


def _find(model: ServedModel, field: str, value: str) -> str:
    prompts = model.encoder.bundle.manifest.prompts
    known = ", ".join(sorted(prompts)) or "none"
    if value in prompts:
        return prompts[value]
    route = model.encoder.bundle.manifest.route
    task = route and _task(route, value)
    if field == "prompt_name" and task is None:
        # Stricter than `encode`: a client must not believe that there was a prompt.
        raise OptionError(f"prompt_name={value[:100]!r} is not in the bundle; it has: {known}.")
    kind = value.lower()
    names = _QUERY if kind in _QUERY else _DOCUMENT if kind in _DOCUMENT else ()
    for name in names:
        if name in prompts:
            return prompts[name]
    if task is not None:
        return ""  # the value selected the route
    if names is _DOCUMENT and any(name in prompts for name in _QUERY):
        return ""  # a checkpoint with only a prompt for queries takes documents without one
    raise OptionError(f"{field}={value[:100]!r} matches no prompt of the bundle; it has: {known}.")


def _invalid(message: str, field: str) -> ApiError:
    return ApiError(400, message, "invalid_value", field, tei_status=422)
