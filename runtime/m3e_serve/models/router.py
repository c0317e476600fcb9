"""Routes of a model with a Router (sentence-transformers): bundles that are served under one name."""

from __future__ import annotations

from collections.abc import Sequence

from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import OptionError
from m3e_runtime.manifest import Manifest
from m3e_serve.settings import ModelSource

__all__ = ["check_names"]


def check_names(sources: Sequence[ModelSource]) -> None:
    """Check that bundles of the same name are different routes of the same model.

    Raises:
        BundleError: as :meth:`Bundle.open`.
        OptionError: they are not, or their vectors are not comparable.
    """
    for name in sorted({source.name for source in sources}):
        same_name = [source for source in sources if source.name == name]
        if len(same_name) > 1:
            _check_routes(name, [Bundle.open(source.path).manifest for source in same_name])


def _check_routes(name: str, manifests: Sequence[Manifest]) -> None:
    routes = [manifest.route.name for manifest in manifests if manifest.route is not None]
    models = {
        (
            manifest.source.id,
            tuple(sorted(manifest.route.tasks.items())),
            manifest.output_dimension,
            manifest.similarity,
        )
        for manifest in manifests
        if manifest.route is not None
    }
    if len(set(routes)) < len(manifests) or len(models) > 1:
        raise OptionError(
            f"two bundles have the name {name}, but they are not two routes of one model; give one "
            "of them another name: NAME=BUNDLE."
        )
