"""``m3e-serve``: bundles behind the interfaces of OpenAI's embeddings and of text-embeddings-inference."""

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
from m3e_runtime.errors import DependencyMissingError, OptionError
from m3e_runtime.file_names import shown
from m3e_runtime.scheduling import QueueLimits
from m3e_runtime.threads import available_threads
from m3e_serve.settings import BYTES_OF_A_TEXT, ModelSource, ServeSettings

__all__ = ["main"]

logger = logging.getLogger(__name__)

_NEEDED = ("uvicorn", "uvloop", "httptools", "starlette", "orjson", "prometheus_client")
_NEEDED_FOR_SPANS = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_LEVELS = ("debug", "info", "warning", "error")
_LIMITS = ServeSettings(models=(ModelSource("", Path()),))
"""Where the defaults stand."""

_KEEP_ALIVE = (
    "seconds that a connection may be idle; must exceed a balancer's: nginx's and AWS's 60, Google's 600"
)

_EXAMPLES = """\
examples:
  m3e-serve m3e-base-int8                                     http://127.0.0.1:8000/v1/embeddings, page at /
  m3e-serve m3e-base-int8 --alias text-embedding-ada-002=m3e-base-int8 --pad-to 1536
  m3e-serve small=./m3e-small-int8 base=./m3e-base-int8       chosen by "model"; the first serves TEI's routes
  m3e-serve e5=./e5-query-int8 e5=./e5-document-int8          two routes of one model, chosen by "input_type"
  m3e-serve m3e-base-int8 --host 0.0.0.0 --api-key-file keys.txt
  m3e-serve m3e-base-int8 --uds /run/m3e.sock --workers 4

A request may be larger than what may wait: it is computed in pieces, between those of others. One that cannot
be computed within --request-timeout, at the speed that is measured, is refused before it begins: with 413 and
the number of texts that would fit, or with 429 if others have to be answered first.

API keys are one a line of the file, or in the variable M3E_API_KEY.

SIGTERM, SIGINT and SIGHUP (unless nohup has it ignored) refuse who comes, answer who was let in, and end
with 0. With --drain-delay, SIGTERM and SIGHUP first let /readyz fail and serve on while balancers learn of
it; the same signal again ends the delay. Nothing is loaded anew while the service runs: start another one.

exit codes: 0 ended by a signal, 1 workers do not start or a file cannot be written, 2 usage or
            address in use, 4 unreadable or damaged bundle, 5 engine or the extra `serve` missing
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run(_command, _parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-serve",
        description="Serve bundles over HTTP, as OpenAI's embeddings and as text-embeddings-inference.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundles", metavar="[NAME=]BUNDLE", nargs="+", help="bundle folder; its name is the model's (or NAME)"
    )
    _add_address_options(parser)
    _add_model_options(parser)
    _add_limit_options(parser)
    _add_run_options(parser)
    return parser


def _add_address_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address and access")
    group.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    group.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes one that is free")
    group.add_argument("--uds", metavar="PATH", help="a Unix socket in place of host and port")
    group.add_argument("--api-key-file", metavar="FILE", help="ask for one of these keys, one a line")
    group.add_argument(
        "--cors-origin", action="append", default=[], metavar="ORIGIN", help="let web pages from there in"
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models")
    group.add_argument(
        "--alias", action="append", default=[], metavar="ALIAS=NAME", help="a further name of a model"
    )
    group.add_argument(
        "--any-model", action="store_true", help="whatever name clients send, it is the one bundle"
    )
    group.add_argument(
        "--pad-to", type=int, metavar="N", help="add zeros to the vectors of /v1/embeddings, up to N numbers"
    )
    group.add_argument(
        "--no-truncate", action="store_true", help="refuse texts that are too long (default: cut them)"
    )
    group.add_argument("--artifact", metavar="NAME", help="artifact to run (default: the fastest)")
    group.add_argument("--backend", metavar="NAME", help="engine to run it in (default: the fastest)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or tensorrt (default: auto)")


def _add_limit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits (of each worker)")
    group.add_argument(
        "--max-body",
        type=int,
        metavar="N",
        help=f"bytes of a body, unpacked ({BYTES_OF_A_TEXT} for each text)",
    )
    numbers: list[tuple[str, type, float, str]] = [
        ("max-texts", int, _LIMITS.max_texts, "texts of a request"),
        ("max-queued-texts", int, _LIMITS.queue.texts, "texts that may wait; beyond, 429 with Retry-After"),
        (
            "max-queued-tokens",
            int,
            _LIMITS.queue.tokens,
            "tokens that may wait, at most 8192 of each request",
        ),
        ("max-connections", int, _LIMITS.max_connections, "connections at a time"),
        ("request-timeout", float, _LIMITS.request_timeout, "seconds until a request is given up"),
        ("receive-timeout", float, _LIMITS.receive_timeout, "seconds for a client to send, and to read on"),
        ("keep-alive", float, _LIMITS.keep_alive, _KEEP_ALIVE),
        ("drain-delay", float, _LIMITS.drain_delay, "seconds to serve on after SIGTERM while /readyz fails"),
        ("drain-timeout", float, _LIMITS.drain_timeout, "seconds to answer who was let in, after that"),
    ]
    for name, kind, default, text in numbers:
        group.add_argument(
            f"--{name}", type=kind, default=default, metavar="N", help=f"{text} ({default:.9g})"
        )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    group.add_argument(
        "--threads", type=int, metavar="N", help="engine threads of a worker (default: all, shared evenly)"
    )
    group.add_argument(
        "--log-level", choices=_LEVELS, default="info", help="of the JSON logs on standard error"
    )
    group.add_argument("--access-log", action="store_true", help="log each request, without its texts")
    group.add_argument(
        "--otel",
        action="store_true",
        help="send a span for each request where OTEL_EXPORTER_OTLP_ENDPOINT says",
    )


def _command(options: argparse.Namespace) -> int:
    _check_installed(_NEEDED, "serve")
    if options.otel:
        _check_installed(_NEEDED_FOR_SPANS, "otel")
    settings = _settings(options)
    from m3e_serve.app import load_service
    from m3e_serve.monitoring.logs import configure_logging
    from m3e_serve.process.open_files import connections_within
    from m3e_serve.process.server import run_server
    from m3e_serve.process.workers import run_workers

    configure_logging(options.log_level)
    settings = dataclasses.replace(settings, max_connections=connections_within(settings.max_connections))
    if options.workers > 1:
        _check_bundles(settings)
        with _listening(options) as bound:
            _announce(bound, settings)
            trusting = dataclasses.replace(settings, verify=False)
            return run_workers(trusting, [bound], options.workers, options.log_level)
    service = load_service(settings)
    with _listening(options) as bound:
        _announce(bound, settings)
        run_server(service, [bound])
    return 0


def _check_installed(needed: Sequence[str], extra: str) -> None:
    for name in needed:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyMissingError(
                f"{name} is missing: `pip install 'm3e-runtime[{extra}]'`."
            ) from error


def _settings(options: argparse.Namespace) -> ServeSettings:
    from m3e_serve.requests.api_keys import read_keys

    if options.workers < 1:
        raise OptionError(f"--workers {options.workers}: at least one is needed.")
    return ServeSettings(
        models=tuple(_model_source(bundle) for bundle in options.bundles),
        aliases=dict(_alias(each) for each in options.alias),
        any_model=options.any_model,
        device=options.device,
        artifact=options.artifact,
        backend=options.backend,
        threads=options.threads or max(1, available_threads() // options.workers),
        truncate=not options.no_truncate,
        pad_to=options.pad_to,
        key_digests=read_keys(options.api_key_file),
        max_body=options.max_body,
        max_texts=options.max_texts,
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
    """Hash and load once what each worker will load, so that faults are told here and by one process."""
    from m3e_serve.app import load_service

    for model in load_service(settings).models.all:
        model.encoder.close()


@contextmanager
def _listening(options: argparse.Namespace) -> Iterator[socket.socket]:
    """The bound socket; a Unix socket is removed in the end."""
    from m3e_serve.process.server import bind_tcp, bind_unix

    bound = bind_unix(options.uds) if options.uds else bind_tcp(options.host, options.port)
    try:
        yield bound
    finally:
        bound.close()
        if options.uds:
            Path(options.uds).unlink(missing_ok=True)


def _announce(bound: socket.socket, settings: ServeSettings) -> None:
    address = bound.getsockname()
    at_home = isinstance(address, str) or ipaddress.ip_address(address[0]).is_loopback
    if not at_home and not settings.key_digests:
        logger.warning("other machines can use this service without a key; see --api-key-file")
    where = address if isinstance(address, str) else f"http://{_url_host(address[0])}:{address[1]}"
    models = list(dict.fromkeys(model.name for model in settings.models))
    logger.info("listening", extra={"fields": {"address": shown(where), "models": models}})


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
