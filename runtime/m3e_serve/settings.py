"""The settings of a service. They are plain data, so that they can be sent to worker processes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m3e_runtime.errors import OptionError
from m3e_runtime.scheduling import QueueLimits

__all__ = ["BYTES_PER_TEXT", "ModelSource", "ServeSettings"]

BYTES_PER_TEXT = 8192
"""Text splitters make chunks of about 1000 characters; Python's JSON takes six bytes for a Chinese one."""

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+")
_MIN_BODY = 1 << 20
_MIN_BYTES_PER_TEXT = 4  # one letter, its quotation marks and a comma


_POSITIVE = (
    *("max_body", "max_texts", "max_pairs", "max_connections"),
    *("request_timeout", "receive_timeout", "keep_alive"),
)


@dataclass(frozen=True)
class ModelSource:
    """A bundle, and its model name in requests."""

    name: str
    path: Path


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a service.

    Attributes:
        models: the bundles. Requests that name no model use the first one. Bundles of the same name are
            routes of one model with a Router; the task of a request selects one.
        aliases: additional names of models.
        any_model: accept any model name in requests, if only one model of the request's task is served.
        device: as in :meth:`m3e_runtime.Encoder.load`, like the next four.
        artifact: see ``device``.
        backend: see ``device``.
        threads: see ``device``.
        verify: see ``device``.
        truncate: truncate long texts by default, instead of rejecting them.
        pad_to: pad the vectors of ``/v1/embeddings`` with zeros to this many dimensions. None: no padding.
        key_digests: SHA-256 digest of each API key. If empty, no key is required.
        max_body: maximum size of a body in bytes, also when decompressed. None: see :attr:`body_limit`.
        max_texts: maximum number of texts in a request.
        max_pairs: maximum number of texts in a request that are scored, such as the documents of a query.
        max_connections: maximum number of open connections.
        request_timeout: maximum seconds to handle a request. A request that would take longer at the measured
            speed is rejected before it starts. The default is that of OpenAI's clients.
        receive_timeout: maximum seconds to receive a request, and between two reads of a response by the
            client. A body above 128 KiB has another second for each 128 KiB.
        keep_alive: seconds until an idle connection is closed. The default is longer than that of httpx (5),
            nginx and AWS's load balancers (60): if the server closes first, it can miss a request.
        drain_delay: seconds after SIGTERM during which ``/readyz`` fails and requests are still accepted.
        drain_timeout: seconds for requests in flight to finish after that.
        queue: limits of the queue. Requests beyond them are rejected with 429.
        cors_origins: origins of web pages that may use the service, or ``*``.
        access_log: log each request.
        otel: export an OpenTelemetry span for each request.
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
    max_pairs: int = 1000
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
                    f"alias {alias}={name}: no bundle has that name; available names: {', '.join(names)}."
                )
            if alias in names:
                raise OptionError(f"alias {alias}={name}: {alias} is the name of a bundle.")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"{name}={value}: it must be a positive, finite number.")
        for name in ("drain_delay", "drain_timeout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)}: it must be 0 or a positive, finite number.")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.body_limit < _MIN_BYTES_PER_TEXT * self.max_texts:
            raise OptionError(
                f"--max-body {self.max_body} is too small for --max-texts {self.max_texts}; "
                f"allow {BYTES_PER_TEXT} bytes for each text, or fewer texts."
            )
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"--cors-origin {origin}: this is not an origin; write https://host or "
                    "https://host:port, in lower case and without a path, or * for all origins."
                )

    @property
    def body_limit(self) -> int:
        """Maximum size of a body: ``max_body``, or :data:`BYTES_PER_TEXT` for each text or pair."""
        if self.max_body is not None:
            return self.max_body
        return max(_MIN_BODY, max(self.max_texts, self.max_pairs) * BYTES_PER_TEXT)
