"""Everything that can be chosen about a service. Plain data, so that it reaches worker processes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m3e_runtime.errors import OptionError
from m3e_runtime.scheduling import QueueLimits

__all__ = ["BYTES_OF_A_TEXT", "ModelSource", "ServeSettings"]

BYTES_OF_A_TEXT = 8192
"""Text splitters make chunks of about 1000 characters; Python's JSON writes six bytes for a Chinese one."""

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+")
_LEAST_BODY = 1 << 20
_LEAST_OF_A_TEXT = 4  # bytes: one letter, its quotation marks and a comma


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
        models: the bundles; the first serves the routes whose requests name no model. Those of the same name
            are routes of one model with a Router, of which each request's task takes one.
        aliases: further names, each of one of ``models``.
        any_model: take every name for the one bundle that is served.
        device: as in :meth:`m3e_runtime.Encoder.load`, like the next four.
        artifact: see ``device``.
        backend: see ``device``.
        threads: see ``device``.
        verify: see ``device``.
        truncate: cut texts that are longer than the model takes, where a request does not say; else refuse.
        pad_to: length of the vectors of ``/v1/embeddings``, by zeros at the end; None adds none.
        key_digests: SHA-256 of each API key; without any, nobody is asked for one.
        max_body: bytes of a request's body, also after it was unpacked; None: see :attr:`body_limit`.
        max_texts: texts of a request.
        max_connections: connections at a time.
        request_timeout: seconds until a request is given up. What would take longer at the measured speed is
            refused before it begins. OpenAI's clients wait 600 seconds.
        receive_timeout: seconds that a client may take to send a request, and between reading its answers. A
            body of more than 128 KiB may take another second for each 128 KiB.
        keep_alive: seconds that a connection may be idle. Longer than httpx (5), nginx and AWS's balancers
            (60) keep theirs: where the server closes first, a request may meet the closing and get no answer.
        drain_delay: seconds after SIGTERM in which requests are still let in, though ``/readyz`` fails.
        drain_timeout: seconds that requests have to be answered after that.
        queue: what may wait before requests are refused.
        cors_origins: origins of web pages that may use the service, or ``*``; none by default.
        access_log: write a line for each request.
        otel: send a span for each request to a collector of OpenTelemetry.
    """

    models: tuple[ModelSource, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    any_model: bool = False
    device: str = "auto"
    artifact: str | None = None
    backend: str | None = None
    threads: int | None = None
    verify: bool = True
    truncate: bool = True
    pad_to: int | None = None
    key_digests: tuple[bytes, ...] = ()
    max_body: int | None = None
    max_texts: int = 2048
    max_connections: int = 1024
    request_timeout: float = 600.0
    receive_timeout: float = 20.0
    keep_alive: float = 75.0
    drain_delay: float = 0.0
    drain_timeout: float = 25.0
    queue: QueueLimits = field(default_factory=QueueLimits)
    cors_origins: tuple[str, ...] = ()
    access_log: bool = False
    otel: bool = False

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names:
            raise OptionError("no bundle to serve.")
        for alias, name in self.aliases.items():
            if name not in names:
                raise OptionError(
                    f"alias {alias}={name}: no bundle has that name; there are: {', '.join(names)}."
                )
            if alias in names:
                raise OptionError(f"alias {alias}={name}: {alias} is the name of a bundle.")
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"{name}={value}: it must be above zero, and a number.")
        for name in ("drain_delay", "drain_timeout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)}: it must not be negative.")
        self._check_together()

    def _check_together(self) -> None:
        names = {model.name for model in self.models}
        if self.any_model and len(names) > 1:
            raise OptionError(f"--any-model: a name could mean any of {len(names)} models; serve one.")
        if self.body_limit < _LEAST_OF_A_TEXT * self.max_texts:
            raise OptionError(
                f"--max-body {self.max_body} does not hold --max-texts {self.max_texts}; "
                f"allow {BYTES_OF_A_TEXT} bytes for each, or fewer texts."
            )
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"--cors-origin {origin}: it is no origin; browsers send https://host or "
                    "https://host:port, in small letters, with nothing after it. * lets every page in."
                )

    @property
    def body_limit(self) -> int:
        """Bytes of a body: ``max_body``, else enough for ``max_texts`` texts of :data:`BYTES_OF_A_TEXT`."""
        if self.max_body is not None:
            return self.max_body
        return max(_LEAST_BODY, self.max_texts * BYTES_OF_A_TEXT)
