"""The command ``m3e-serve``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from m3e_runtime.command_line import run
from m3e_runtime.errors import OptionError
from m3e_runtime.extras import extra_packages
from m3e_runtime.file_names import shown
from m3e_runtime.scheduling import QueueLimits
from m3e_runtime.threads import available_threads
from m3e_serve.settings import BYTES_PER_TEXT, ModelSource, ServeSettings

__all__ = ["main"]

logger = logging.getLogger(__name__)

_PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "orjson", "prometheus_client")
_TRACING_PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_LEVELS = ("debug", "info", "warning", "error")
_DEFAULTS = ServeSettings(models=(ModelSource("", Path()),))

_KEEP_ALIVE = (
    "seconds until an idle connection is closed; must exceed a balancer's (nginx, AWS: 60; Google: 600)"
)

_EXAMPLES = """\
examples:
  m3e-serve m3e-base-int8                                     http://127.0.0.1:8000/v1/embeddings, page at /
  m3e-serve m3e-base-int8 --alias text-embedding-ada-002=m3e-base-int8 --pad-to 1536
  m3e-serve small=./m3e-small-int8 base=./m3e-base-int8       selected by "model"; TEI's routes use the first
  m3e-serve ./m3e-base-int8 ./bge-reranker-base-int8          an embedding model, and a reranker at /rerank
  m3e-serve e5=./e5-query-int8 e5=./e5-document-int8          routes of one model, selected by "input_type"
  m3e-serve m3e-base-int8 --host 0.0.0.0 --api-key-file keys.txt
  m3e-serve m3e-base-int8 --uds /run/m3e.sock --workers 4

A request may be larger than the queue: it is computed in pieces, between other requests. A request that would
exceed --request-timeout at the measured speed is rejected before it starts: with 413 and the number of texts
that would fit, or with 429 if too many requests are waiting.

API keys are read from the file, one per line, and from the environment variable M3E_API_KEY.

SIGTERM, SIGINT and SIGHUP (unless ignored, as with nohup) drain the service: it rejects new requests,
finishes those in flight, and exits with 0. With --drain-delay, SIGTERM and SIGHUP first make /readyz fail
while requests are still accepted, so that load balancers can react. The same signal again ends the delay.
Bundles are not reloaded while the service runs; start another one.

exit codes: 0 ended by a signal, 1 workers fail to start or a file cannot be written, 2 invalid option or
            address in use, 4 unreadable or damaged bundle, 5 engine or the extra `serve` missing
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(_command, _parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-serve",
        description="Serve bundles over HTTP, as OpenAI, text-embeddings-inference, Ollama and Cohere do.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles",
        metavar="[NAME=]BUNDLE",
        nargs="+",
        help="bundle folder; NAME is the model name (default: that of the folder)",
    )
    _add_address_options(parser)
    _add_model_options(parser)
    _add_limit_options(parser)
    _add_run_options(parser)
    return parser


def _add_address_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address and access")
    group.add_argument("--host", default="127.0.0.1", help="address (default: 127.0.0.1, this machine only)")
    group.add_argument("--port", type=int, default=8000, help="port (default: 8000; 0: any free port)")
    group.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    group.add_argument("--api-key-file", metavar="FILE", help="require one of these API keys, one per line")
    group.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="allow web pages of this origin, or * (repeatable)",
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models")
    group.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="ALIAS=NAME",
        help="additional name of a model (repeatable)",
    )
    group.add_argument(
        "--any-model",
        action="store_true",
        help="accept any model name, if one model of its task is served",
    )
    group.add_argument(
        "--pad-to", type=int, metavar="N", help="pad the vectors of /v1/embeddings with zeros to N dimensions"
    )
    group.add_argument(
        "--no-truncate", action="store_true", help="reject texts that are too long (default: truncate them)"
    )
    group.add_argument("--artifact", metavar="NAME", help="artifact to run (default: the fastest)")
    group.add_argument("--backend", metavar="NAME", help="engine that runs it (default: the fastest)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or tensorrt (default: auto)")


def _add_limit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits (of each worker)")
    group.add_argument(
        "--max-body",
        type=int,
        metavar="N",
        help=f"bytes in a decompressed body ({BYTES_PER_TEXT} for each text or document)",
    )
    numbers: list[tuple[str, type, float, str]] = [
        ("max-texts", int, _DEFAULTS.max_texts, "texts in a request"),
        ("max-pairs", int, _DEFAULTS.max_pairs, "documents in a request to a reranker"),
        (
            "max-queued-texts",
            int,
            _DEFAULTS.queue.texts,
            "texts in the queue; more get 429 with Retry-After",
        ),
        (
            "max-queued-tokens",
            int,
            _DEFAULTS.queue.tokens,
            "tokens in the queue; a request counts for at most 8192",
        ),
        ("max-connections", int, _DEFAULTS.max_connections, "open connections"),
        ("request-timeout", float, _DEFAULTS.request_timeout, "seconds to handle a request"),
        (
            "receive-timeout",
            float,
            _DEFAULTS.receive_timeout,
            "seconds for a client to send its request, and between two reads",
        ),
        ("keep-alive", float, _DEFAULTS.keep_alive, _KEEP_ALIVE),
        (
            "drain-delay",
            float,
            _DEFAULTS.drain_delay,
            "seconds after SIGTERM while /readyz fails and requests are still accepted",
        ),
        (
            "drain-timeout",
            float,
            _DEFAULTS.drain_timeout,
            "seconds after that for requests in flight",
        ),
    ]
    for name, kind, default, text in numbers:
        group.add_argument(
            f"--{name}", type=kind, default=default, metavar="N", help=f"{text} ({default:.9g})"
        )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (default: 1)")
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="engine threads of each worker (default: an even share of all)",
    )
    group.add_argument(
        "--log-level", choices=_LEVELS, default="info", help="level of the JSON logs on standard error"
    )
    group.add_argument("--access-log", action="store_true", help="log each request, without its texts")
    group.add_argument(
        "--otel",
        action="store_true",
        help="export an OpenTelemetry span for each request to OTEL_EXPORTER_OTLP_ENDPOINT",
    )


def _command(options: argparse.Namespace) -> int:
    _check_installed("m3e-serve", "serve", _PACKAGES)
    if options.otel:
        _check_installed("--otel", "otel", _TRACING_PACKAGES)
    settings = _settings(options)
    from m3e_serve.app import load_service
    from m3e_serve.monitoring.logs import configure_logging
    from m3e_serve.process.open_files import raise_file_limit
    from m3e_serve.process.server import run_server
    from m3e_serve.process.workers import run_workers

    configure_logging(options.log_level)
    settings = dataclasses.replace(settings, max_connections=raise_file_limit(settings.max_connections))
    if options.workers > 1:
        _check_bundles(settings)
        with _bound_socket(options) as bound:
            _log_address(bound, settings)
            verified = dataclasses.replace(settings, verify=False)
            return run_workers(verified, [bound], options.workers, options.log_level)
    service = load_service(settings)
    with _bound_socket(options) as bound:
        _log_address(bound, settings)
        run_server(service, [bound])
    return 0


def _check_installed(purpose: str, extra: str, packages: Sequence[str]) -> None:
    with extra_packages(purpose, extra, *(name.partition(".")[0] for name in packages)):
        for name in packages:
            importlib.import_module(name)


def _settings(options: argparse.Namespace) -> ServeSettings:
    from m3e_serve.requests.api_keys import read_keys

    if options.workers < 1:
        raise OptionError(f"--workers {options.workers}: it must be at least 1.")
    return ServeSettings(
        models=tuple(_model_source(bundle) for bundle in options.bundles),
        aliases=dict(_alias(each) for each in options.alias),
        any_model=options.any_model,
        device=options.device,
        artifact=options.artifact,
        backend=options.backend,
        threads=max(1, available_threads() // options.workers)
        if options.threads is None
        else options.threads,
        truncate=not options.no_truncate,
        pad_to=options.pad_to,
        key_digests=read_keys(options.api_key_file),
        max_body=options.max_body,
        max_texts=options.max_texts,
        max_pairs=options.max_pairs,
        max_connections=options.max_connections,
        request_timeout=options.request_timeout,
        receive_timeout=options.receive_timeout,
        keep_alive=options.keep_alive,
        drain_delay=options.drain_delay,
        drain_timeout=options.drain_timeout,
        queue=QueueLimits(options.max_queued_texts, options.max_queued_tokens),
        cors_origins=tuple(options.cors_origin),
        access_log=options.access_log,
        otel=options.otel,
    )


def _model_source(bundle: str) -> ModelSource:
    name, separator, path = bundle.partition("=")
    if separator and not Path(bundle).exists():
        if not name or not path:
            raise OptionError(f"{bundle}: write NAME=BUNDLE.")
        return ModelSource(shown(name), Path(path))
    return ModelSource(shown(Path(bundle).resolve().name), Path(bundle))


def _alias(text: str) -> tuple[str, str]:
    alias, separator, name = text.partition("=")
    if not separator or not alias:
        raise OptionError(f"--alias {text}: write ALIAS=NAME.")
    return alias, name


def _check_bundles(settings: ServeSettings) -> None:
    """Verify and load the bundles once, so that errors are reported here and not by each worker."""
    from m3e_serve.app import load_service

    for model in load_service(settings).models.all:
        model.close()


@contextmanager
def _bound_socket(options: argparse.Namespace) -> Iterator[socket.socket]:
    """A bound socket. A Unix socket is removed at the end."""
    from m3e_serve.process.sockets import bind_tcp, bind_unix

    bound = bind_unix(options.uds) if options.uds else bind_tcp(options.host, options.port)
    try:
        yield bound
    finally:
        bound.close()
        if options.uds:
            Path(options.uds).unlink(missing_ok=True)


def _log_address(bound: socket.socket, settings: ServeSettings) -> None:
    address = bound.getsockname()
    is_local = isinstance(address, str) or ipaddress.ip_address(address[0]).is_loopback
    if not is_local and not settings.key_digests:
        logger.warning("other machines can use this service without an API key; see --api-key-file")
    where = address if isinstance(address, str) else f"http://{_url_host(address[0])}:{address[1]}"
    models = list(dict.fromkeys(model.name for model in settings.models))
    logger.info("listening", extra={"fields": {"address": shown(where), "models": models}})


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
