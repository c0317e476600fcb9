"""The base of the adapters: a bundle's path with options, and the encoding of queries and documents."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import numpy.typing as npt

from m3e_runtime.arguments import folder, whole_number
from m3e_runtime.backends.device import device_name
from m3e_runtime.containers import as_list
from m3e_runtime.encoder import Encoder
from m3e_runtime.prompts import document_prompt_name, query_prompt_name
from m3e_runtime.routes import check_task

__all__ = ["DEFAULTS", "EmbedderOptions", "TextEmbedder", "absolute"]

_NUMBERS = ("threads", "batch_size", "truncate_dim")


class EmbedderOptions(TypedDict, total=False):
    """The options beside the bundle, with the names of ``Encoder.load`` and ``Encoder.encode``.

    ``query_prompt_name`` and ``document_prompt_name`` name a prompt of the bundle. ``query_prompt`` and
    ``document_prompt`` are prompts themselves; ``""`` is none. By default the bundle's prompt for queries or
    documents is used, if it has one, else its default prompt.
    """

    device: str
    artifact: str | None
    backend: str | None
    threads: int | None
    batch_size: int | None
    normalize_embeddings: bool
    truncate_dim: int | None
    query_prompt_name: str | None
    query_prompt: str | None
    document_prompt_name: str | None
    document_prompt: str | None


DEFAULTS: dict[str, Any] = dict.fromkeys(EmbedderOptions.__annotations__) | {
    "device": "auto",
    "normalize_embeddings": False,
}
"""The default of each option. None leaves the choice to the bundle or the encoder."""


class TextEmbedder:
    """A bundle that is loaded once, at first use.

    Copies share the loaded bundle. A pickle holds the path and the options; unpickling loads the bundle
    again.

    Raises:
        TypeError: an option is unknown.
        OptionError: an option has the wrong type.
    """

    def __init__(self, bundle: str | os.PathLike[str], **options: Unpack[EmbedderOptions]) -> None:
        self._bundle = absolute(bundle)
        self._options = _checked(options)
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The path, as ``bundle``, and every option: the arguments of an equal embedder."""
        return {"bundle": self._bundle, **self._options}

    @property
    def encoder(self) -> Encoder:
        """The bundle's encoder, loaded at first use.

        Raises:
            M3EError: as :meth:`Encoder.load`.
        """
        chosen = self._options
        with self._lock:
            if self._encoder is None:
                self._encoder = Encoder.load(
                    self._bundle,
                    device=chosen["device"],
                    artifact=chosen["artifact"],
                    backend=chosen["backend"],
                    threads=chosen["threads"],
                )
            return self._encoder

    def queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of search queries, float32 ``[n, dimension]``."""
        chosen = self._options
        check_task(self.encoder.bundle.manifest.route, "query")
        name = chosen["query_prompt_name"] or query_prompt_name(self._prompts())
        return self._encode(texts, name, chosen["query_prompt"])

    def documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of texts to be found, float32 ``[n, dimension]``."""
        chosen = self._options
        check_task(self.encoder.bundle.manifest.route, "document")
        name = chosen["document_prompt_name"] or document_prompt_name(self._prompts())
        return self._encode(texts, name, chosen["document_prompt"])

    def _prompts(self) -> dict[str, str]:
        return self.encoder.bundle.manifest.prompts

    def _encode(
        self, texts: Sequence[str], prompt_name: str | None, prompt: str | None
    ) -> npt.NDArray[np.float32]:
        chosen = self._options
        vectors: npt.NDArray[np.float32] = self.encoder.encode(
            as_list(texts),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=chosen["batch_size"],
            normalize_embeddings=chosen["normalize_embeddings"],
            truncate_dim=chosen["truncate_dim"],
        )
        return vectors

    def __repr__(self) -> str:
        changed = {name: value for name, value in self.config.items() if value != DEFAULTS.get(name)}
        return f"TextEmbedder({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __copy__(self) -> TextEmbedder:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TextEmbedder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.config,)


def _checked(options: EmbedderOptions) -> EmbedderOptions:
    """All options, as values that JSON can hold.

    Raises:
        TypeError: an option is unknown.
        OptionError: an option has the wrong type.
    """
    unknown = sorted(options.keys() - DEFAULTS.keys())
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: not known; the options are {', '.join(DEFAULTS)}.")
    full: dict[str, Any] = {**DEFAULTS, **options}
    full["device"] = device_name(full["device"])
    for name in _NUMBERS:
        if full[name] is not None:
            full[name] = whole_number(name, full[name], 1)
    return cast(EmbedderOptions, full)


def absolute(bundle: str | os.PathLike[str]) -> str:
    """The bundle's absolute path: a configuration may be read in another working folder.

    Raises:
        OptionError: not a path.
    """
    return os.path.abspath(folder("bundle", bundle))


def _restore(config: dict[str, Any]) -> TextEmbedder:
    return TextEmbedder(**config)
