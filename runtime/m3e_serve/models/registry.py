"""The served models by name and alias."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from m3e_runtime.errors import OptionError
from m3e_serve.models.loading import Served, load_models
from m3e_serve.models.router import check_names
from m3e_serve.models.served_model import ServedModel
from m3e_serve.models.served_reranker import ServedReranker
from m3e_serve.models.task_models import TaskModels, unknown_model
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ServeSettings

__all__ = ["ModelRegistry"]


class ModelRegistry:
    """The served models.

    Attributes:
        all: all models, in the order of the command line.
        names: the models by name and alias.
        embedders: those that give vectors of texts.
        classifiers: those that give a score for each of their labels.
        rerankers: the classifiers of one label, the relevance of a passage to a query.
    """

    def __init__(self, models: Sequence[Served], settings: ServeSettings) -> None:
        self.all = tuple(models)
        unique = dict.fromkeys(model.name for model in models)
        by_name = {name: _join_routes([each for each in models if each.name == name]) for name in unique}
        self.names = {**by_name, **{alias: by_name[name] for alias, name in settings.aliases.items()}}
        any_name = settings.any_model
        embedders = {name: each for name, each in self.names.items() if isinstance(each, ServedModel)}
        classifiers = {name: each for name, each in self.names.items() if isinstance(each, ServedReranker)}
        rerankers = {name: each for name, each in classifiers.items() if each.is_reranker}
        self.embedders = TaskModels("an embedding model", embedders, self.names, any_name)
        self.classifiers = TaskModels("a reranker or classifier", classifiers, self.names, any_name)
        self.rerankers = TaskModels("a reranker", rerankers, self.names, any_name)
        if any_name and max(self.embedders.count, self.classifiers.count) > 1:
            raise OptionError(
                "--any-model needs at most one embedding model and at most one reranker or classifier; "
                f"{self.embedders.count} and {self.classifiers.count} are served."
            )

    @staticmethod
    def load(settings: ServeSettings, metrics: Metrics) -> ModelRegistry:
        """Load every bundle.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`.
            OptionError: bundles of the same name that are not routes of one model.
        """
        check_names(settings.models)
        return ModelRegistry(load_models(settings, metrics), settings)

    @property
    def default(self) -> ServedModel:
        """The first embedding model; see :attr:`TaskModels.default`."""
        return self.embedders.default

    def choose(self, name: str | None) -> ServedModel:
        """The embedding model for a request with this model name; see :meth:`TaskModels.choose`."""
        return self.embedders.choose(name)

    def find(self, name: str) -> Served:
        """The model with this name or alias.

        Raises:
            ApiError: 404, no such model.
        """
        with suppress(KeyError):
            return self.names[name]
        raise unknown_model(self.names)

    @property
    def alive(self) -> bool:
        """Whether all engines run."""
        return all(model.scheduler.alive for model in self.all)

    async def start(self) -> None:
        """Start the engines and measure their speed."""
        for model in self.all:
            await model.scheduler.warm_up()

    async def close(self) -> None:
        """Finish waiting requests and stop the engines."""
        for model in self.all:
            await model.scheduler.close()
            model.close()


def _join_routes(models: Sequence[Served]) -> Served:
    """Tell routes of the same model about each other. Returns the route for texts without a task."""
    encoders = [model for model in models if isinstance(model, ServedModel)]
    known = [(model, model.manifest.route) for model in encoders]
    routes = {route.name: model for model, route in known if route is not None}
    for model in routes.values():
        model.routes = routes
    _, first = known[0] if known else (None, None)
    return routes.get(first.default or "", encoders[0]) if first is not None else models[0]
