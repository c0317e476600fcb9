"""Everything that can be chosen about a service. Plain data, so that it reaches worker processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m3e_runtime.errors import OptionError
from m3e_runtime.scheduling import QueueLimits

__all__ = ["ModelSource", "ServeSettings"]


_ABOVE_ZERO = (
    *("max_body", "max_texts", "max_connections"),
    *("request_timeout", "receive_timeout", "keep_alive"),
)


@dataclass(frozen=True)
class ModelSource:
    """A bundle and the name under which clients ask for it."""

    name: str
    path: Path


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a service.

    Attributes:
        models: the bundles; the first serves the routes whose requests name no model.
        aliases: further names, each of one of ``models``.
        device: as in :meth:`m3e_runtime.Encoder.load`, like the next four.
        artifact: see ``device``.
        backend: see ``device``.
        threads: see ``device``.
        verify: see ``device``.
        truncate: cut texts that are longer than the model takes, where a request does not say; else refuse.
        pad_to: length of the vectors of ``/v1/embeddings``, by zeros at the end; None adds none.
        key_digests: SHA-256 of each API key; without any, nobody is asked for one.
        max_body: bytes of a request's body.
        max_texts: texts of a request.
        max_connections: connections at a time.
        request_timeout: seconds until a request is given up.
        receive_timeout: seconds that a client may take to send a request, and between reading its answers.
        keep_alive: seconds that a connection may be idle. Longer than httpx (5), nginx and AWS's balancers
            (60) keep theirs: where the server closes first, a request may meet the closing and get no answer.
        drain_delay: seconds after SIGTERM in which requests are still let in, though ``/readyz`` fails.
        drain_timeout: seconds that requests have to be answered after that.
        queue: what may wait before requests are refused.
        cors_origins: origins of web pages that may use the service; none by default.
        access_log: write a line for each request.
    """

    models: tuple[ModelSource, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    artifact: str | None = None
    backend: str | None = None
    threads: int | None = None
    verify: bool = True
    truncate: bool = True
    pad_to: int | None = None
    key_digests: tuple[bytes, ...] = ()
    max_body: int = 8 << 20
    max_texts: int = 2048
    max_connections: int = 1024
    request_timeout: float = 60.0
    receive_timeout: float = 20.0
    keep_alive: float = 75.0
    drain_delay: float = 0.0
    drain_timeout: float = 25.0
    queue: QueueLimits = field(default_factory=QueueLimits)
    cors_origins: tuple[str, ...] = ()
    access_log: bool = False

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names:
            raise OptionError("no bundle to serve.")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(f"two bundles have the name {', '.join(doubled)}; give NAME=BUNDLE for one.")
        for alias, name in self.aliases.items():
            if name not in names:
                raise OptionError(
                    f"alias {alias}={name}: no bundle has that name; there are: {', '.join(names)}."
                )
            if alias in names:
                raise OptionError(f"alias {alias}={name}: {alias} is the name of a bundle.")
        for name in _ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)}: it must be above zero, and a number.")
        for name in ("drain_delay", "drain_timeout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)}: it must not be negative.")
