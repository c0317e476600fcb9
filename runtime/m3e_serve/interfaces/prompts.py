"""The prompt and the route that a request asks for: by name, or by what the texts are."""

from __future__ import annotations

from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Route
from m3e_serve.errors import ApiError
from m3e_serve.models.served_models import ServedModel

__all__ = ["choose_prompt", "prompt_names"]

_QUERY = ("query", "search_query", "retrieval.query", "retrieval_query")
_DOCUMENT = (
    *("document", "passage", "corpus", "search_document"),
    *("retrieval.passage", "retrieval.document", "retrieval_document"),
)
"""Names that clients of Cohere, Jina, Voyage and Google send, and those of prompts in checkpoints; the first
that a bundle has is taken."""


def choose_prompt(model: ServedModel, **asked: str | None) -> tuple[ServedModel, str]:
    """The bundle that a request is for, and the text before each text.

    Args:
        model: what the request names. Where it is several routes of one model, the task chooses among them.
        asked: by the names of the fields, at most one of them not None. ``prompt_name`` is the name of a
            prompt; others say what the texts are.

    Raises:
        ApiError: more than one is given, or the bundle has no such prompt, or the route is not served.
    """
    given = {field: value for field, value in asked.items() if value is not None}
    if len(given) > 1:
        raise _refusal(" and ".join(given) + " say the same; send one of them.", next(iter(given)))
    try:
        chosen = _route(model, *given.values())
        for field, value in given.items():
            return chosen, _find(chosen, field, value)
        return chosen, chosen.encoder.prefix(None, None)
    except OptionError as error:
        raise _refusal(str(error), next(iter(given), "prompt_name")) from error


def prompt_names(model: ServedModel) -> list[str]:
    """Values of ``prompt_name`` that are understood."""
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
    """The bundle for texts of which a request says ``value``; what names no task goes the default way."""
    route = model.encoder.bundle.manifest.route
    if route is None:
        return model
    task = _task(route, value)
    if task is None and len(model.routes) == 1:
        return model
    name = route.default if task is None else route.tasks[task]
    if name is None:
        tasks = ", ".join(sorted(route.tasks))
        raise OptionError(f"the model has a route for each task; send prompt_name, one of {tasks}.")
    if name not in model.routes:
        what = "texts without a task go" if task is None else f"{task!r} goes"
        raise OptionError(
            f"{what} through the route {name!r}, which is not served; there are: {', '.join(model.routes)}."
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
        # stricter than `encode`: a client is not to think that there was a prompt
        raise OptionError(f"prompt_name={value[:100]!r} is not in the bundle; it has: {known}.")
    kind = value.lower()
    names = _QUERY if kind in _QUERY else _DOCUMENT if kind in _DOCUMENT else ()
    for name in names:
        if name in prompts:
            return prompts[name]
    if task is not None:
        return ""  # the value was understood: it has chosen the route
    if names is _DOCUMENT and any(name in prompts for name in _QUERY):
        return ""  # a checkpoint with a prompt for queries only takes documents as they are
    raise OptionError(f"{field}={value[:100]!r} goes with no prompt of the bundle; it has: {known}.")


def _refusal(message: str, field: str) -> ApiError:
    return ApiError(400, message, "invalid_value", field, tei_status=422)
