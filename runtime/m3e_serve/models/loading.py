"""Loading the bundles: embedding models, rerankers and classifiers."""

from __future__ import annotations

from m3e_runtime.bundle import Bundle
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.reranker import Reranker
from m3e_runtime.scheduling import Lane
from m3e_serve.models.served_model import ServedModel
from m3e_serve.models.served_reranker import ServedReranker
from m3e_serve.monitoring.metrics import Metrics
from m3e_serve.settings import ModelSource, ServeSettings

__all__ = ["Served", "load_encoder", "load_models", "load_reranker"]

Served = ServedModel | ServedReranker


def load_models(settings: ServeSettings, metrics: Metrics) -> list[Served]:
    """Load every bundle, in the order of the command line. Their engines share the cores by turns.

    Raises:
        M3EError: as :meth:`m3e_runtime.Encoder.load`.
        OptionError: a model gives nothing that the service has a route for.
    """
    lane = Lane()
    return [_load(source, settings, metrics, lane) for source in settings.models]


def _load(source: ModelSource, settings: ServeSettings, metrics: Metrics, lane: Lane) -> Served:
    if Bundle.open(source.path).manifest.classification is not None:
        return ServedReranker(source.name, load_reranker(source, settings), settings, metrics, lane)
    encoder = load_encoder(source, settings)
    if encoder.given_outputs() == ["multi_vector"]:
        raise OptionError(f"{source.path}: gives multi-vectors only, for which the service has no route.")
    unique = [each.name for each in settings.models].count(source.name) == 1
    label = source.name if unique else f"{source.name}:{encoder.info['route']}"
    return ServedModel(source.name, encoder, settings, metrics, label, lane)


def load_encoder(source: ModelSource, settings: ServeSettings) -> Encoder:
    """Load the bundle of an embedding model.

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


def load_reranker(source: ModelSource, settings: ServeSettings) -> Reranker:
    """Load the bundle of a reranker or classifier.

    Raises:
        M3EError: as :meth:`m3e_runtime.Reranker.load`.
    """
    return Reranker.load(
        source.path,
        device=settings.device,
        artifact=settings.artifact,
        backend=settings.backend,
        threads=settings.threads,
        verify=settings.verify,
    )
