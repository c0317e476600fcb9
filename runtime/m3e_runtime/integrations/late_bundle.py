"""The base of what stands behind the adapters: a bundle's path with options, loaded at first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

from m3e_runtime.arguments import folder, whole_number
from m3e_runtime.backends.device import device_name
from m3e_runtime.loaded_model import LoadedModel

__all__ = ["LateBundle", "absolute"]

Model = TypeVar("Model", bound=LoadedModel)

_LOADING = ("device", "artifact", "backend", "threads")


class LateBundle(Generic[Model]):
    """A bundle that is loaded once, at first use.

    Copies share the loaded bundle. A pickle holds the path and the options; unpickling loads the bundle
    again.

    Raises:
        TypeError: an option is unknown.
        OptionError: an option has the wrong type.
    """

    _defaults: ClassVar[Mapping[str, Any]]
    """The options, and the default of each."""
    _numbers: ClassVar[tuple[str, ...]]
    """Options that are None, or whole numbers from 1."""
    _kind: type[Model]

    def __init__(self, bundle: str | os.PathLike[str], **options: Any) -> None:
        self._bundle = absolute(bundle)
        self._options = self._checked(options)
        self._lock = threading.Lock()
        self._loaded: Model | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The path, as ``bundle``, and every option: the arguments of an equal object."""
        return {"bundle": self._bundle, **self._options}

    @property
    def _model(self) -> Model:
        """The loaded bundle."""
        with self._lock:
            if self._loaded is None:
                chosen = {name: self._options[name] for name in _LOADING}
                self._loaded = self._kind._open(self._bundle, **chosen, verify=True)
            return self._loaded

    @classmethod
    def _checked(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options, as values that JSON can hold."""
        unknown = sorted(options.keys() - cls._defaults.keys())
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: not known; the options are {', '.join(cls._defaults)}.")
        full: dict[str, Any] = {**cls._defaults, **options}
        full["device"] = device_name(full["device"])
        for name in cls._numbers:
            if full[name] is not None:
                full[name] = whole_number(name, full[name], 1)
        return full

    def __repr__(self) -> str:
        changed = {name: value for name, value in self.config.items() if value != self._defaults.get(name)}
        given = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        return f"{type(self).__name__}({given})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.config)


def absolute(bundle: str | os.PathLike[str]) -> str:
    """The bundle's absolute path: a configuration may be read in another working folder.

    Raises:
        OptionError: not a path.
    """
    return os.path.abspath(folder("bundle", bundle))


def _restore(kind: type[Any], config: dict[str, Any]) -> Any:
    return kind(**config)
