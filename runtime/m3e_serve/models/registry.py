"""The served models by name and alias."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from m3e_runtime.encoder import Encoder
from m3e_serve.errors import ApiError
from m3e_serve.models.router import check_names
from m3e_serve.models.served_model import ServedModel
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ModelSource, ServeSettings

__all__ = ["ModelRegistry", "load_encoder"]


class ModelRegistry:
    """The served models.

    Attributes:
        all: all models, in the order of the command line.
        default: the model for requests that name none.
        several: whether the models have more than one name.
        names: the models by name and alias.
    """

    def __init__(self, models: Sequence[ServedModel], settings: ServeSettings) -> None:
        self.all = tuple(models)
        self._any_name = settings.any_model
        unique = dict.fromkeys(model.name for model in models)
        by_name = {name: _join_routes([each for each in models if each.name == name]) for name in unique}
        self.default = by_name[models[0].name]
        self.several = len(by_name) > 1
        self.names = {**by_name, **{alias: by_name[name] for alias, name in settings.aliases.items()}}

    @staticmethod
    def load(settings: ServeSettings, metrics: Metrics) -> ModelRegistry:
        """Load every bundle.

        Raises:
            M3EError: as :meth:`m3e_runtime.Encoder.load`.
            OptionError: bundles of the same name that are not routes of one model.
        """
        check_names(settings.models)
        return ModelRegistry([_load(source, settings, metrics) for source in settings.models], settings)

    def choose(self, name: str | None) -> ServedModel:
        """The model for a request with this model name. Without a name, the only model.

        Raises:
            ApiError: 404, no such model. 400, the name is missing and there are several models.
        """
        if not self.several and (name is None or self._any_name):
            return self.default
        if name is None:
            message = f"`model` is missing; available models: {', '.join(self.names)}."
            raise ApiError(400, message, "invalid_value", "model", tei_status=422)
        return self.find(name)

    def find(self, name: str) -> ServedModel:
        """The model with this name or alias.

        Raises:
            ApiError: 404, no such model.
        """
        with suppress(KeyError):
            return self.names[name]
        raise ApiError(
            404,
            f"The model does not exist; available models: {', '.join(self.names)}.",
            "model_not_found",
            "model",
        )

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
            model.encoder.close()


def _join_routes(models: Sequence[ServedModel]) -> ServedModel:
    """Tell routes of the same model about each other. Returns the route for texts without a task."""
    known = [(model, model.encoder.bundle.manifest.route) for model in models]
    routes = {route.name: model for model, route in known if route is not None}
    for model in routes.values():
        model.routes = routes
    _, first = known[0]
    return routes.get(first.default or "", models[0]) if first is not None else models[0]


def _load(source: ModelSource, settings: ServeSettings, metrics: Metrics) -> ServedModel:
    encoder = load_encoder(source, settings)
    unique = [each.name for each in settings.models].count(source.name) == 1
    label = source.name if unique else f"{source.name}:{encoder.info['route']}"
    return ServedModel(source.name, encoder, settings, metrics, label)


def load_encoder(source: ModelSource, settings: ServeSettings) -> Encoder:
    """Load one bundle.

    Raises:
        M3EError: as :meth:`m3e_runtime.Encoder.load`.
    """
    return Encoder.load(
        source.path,
        device=settings.device,
        artifact=settings.artifact,
        backend=settings.backend,
        threads=settings.threads,
        verify=settings.verify,
    )
