"""The served models that can do one task, by name and alias."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from m3e_serve.errors import ApiError

__all__ = ["TaskModels", "unknown_model"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_M = TypeVar("_M", bound=_Named)


class TaskModels(Generic[_M]):
    """The models for one task.

    Args:
        kind: what these models are, with an article, for error messages.
        names: these models by name and alias, in the order of the command line.
        all_names: the names and aliases of all served models.
        any_name: accept any model name, if there is only one of these models.

    Attributes:
        names: as the argument.
        count: number of these models. Routes of one model count once.
        any_name: whether any model name is accepted.
    """

    def __init__(
        self, kind: str, names: Mapping[str, _M], all_names: Iterable[str], any_name: bool = False
    ) -> None:
        self.names = names
        self.count = len({model.name for model in names.values()})
        self._kind = kind
        self._all_names = frozenset(all_names)
        self.any_name = any_name and self.count == 1

    @property
    def default(self) -> _M:
        """The first of these models.

        Raises:
            ApiError: 400, or 424 on TEI's routes: there is none.
        """
        for model in self.names.values():
            return model
        raise _wrong_task(f"This needs {self._kind}, and none is served.")

    def choose(self, name: str | None) -> _M:
        """The model for a request with this model name. Without a name, the only model.

        Raises:
            ApiError: 404, no such model. 400, the model has another task, or the name is missing and there
                are several models.
        """
        if self.any_name:
            return self.default
        if name is None:
            return self._only()
        if name in self.names:
            return self.names[name]
        if name not in self._all_names:
            raise unknown_model(self.names)
        known = f"available: {', '.join(self.names)}" if self.names else "none is served"
        raise _wrong_task(f"The model is not {self._kind}; {known}.")

    def _only(self) -> _M:
        if self.count > 1:
            message = f"`model` is missing; available models: {', '.join(self.names)}."
            raise ApiError(400, message, "invalid_value", "model", tei_status=422)
        return self.default


def unknown_model(names: Iterable[str]) -> ApiError:
    """404, for a name that no model has."""
    message = f"The model does not exist; available models: {', '.join(names)}."
    return ApiError(404, message, "model_not_found", "model")


def _wrong_task(message: str) -> ApiError:
    return ApiError(400, message, "model_not_supported", "model", tei_type="Backend", tei_status=424)
