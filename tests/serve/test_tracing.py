"""Spans that an OpenTelemetry collector receives."""

import gzip
import http.server
import subprocess
import sys
import threading

import httpx
import pytest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch):
    """A collector. Gives the spans that it received."""
    proto = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra `otel` is not installed"
    )
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(proto.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield received
        server.shutdown()


def spans_of(received):
    (request,) = received
    (resource,) = request.resource_spans
    return [span for scope in resource.scope_spans for span in scope.spans]


def attributes_of(span):
    kinds = {each.key: each.value for each in span.attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in kinds.items()}


def test_each_request_has_a_span_with_the_callers_as_parent(collector, start, encoder):
    running = start(otel=True)
    secret = "a text that nobody else may read"
    with httpx.Client(base_url=running.url, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as client:
        client.post("/embeddings", json={"input": [secret, "b"]})
        client.post("/embed", json={"inputs": 5})
        client.get("/health")
    running.stop()
    (request,) = collector
    assert secret.encode() not in request.SerializeToString()
    (resource,) = request.resource_spans
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "m3e-serve"
    good, bad = spans_of(collector)
    for span in (good, bad):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert span.start_time_unix_nano < span.end_time_unix_nano
    assert good.name == "POST /v1/embeddings"
    assert attributes_of(good) == {
        "http.request.method": "POST",
        "http.route": "/v1/embeddings",
        "http.response.status_code": 200,
        "m3e.model": "tiny",
        "m3e.texts": 2,
        "m3e.tokens": sum(len(encoder.tokenizer.encode(text)) for text in (secret, "b")),
    }
    assert attributes_of(bad)["http.response.status_code"] == 422


def test_spans_of_scores_count_pairs(
    collector, start, reranker_bundle, classifier_bundle, reranker, classifier
):
    from m3e_serve.settings import ModelSource

    sources = (ModelSource("classifier", classifier_bundle), ModelSource("reranker", reranker_bundle))
    running = start(models=sources, otel=True)
    query, passages = "a question that nobody else may read", ["a secret passage", "b", "c" * 4000]
    asked = {"query": query, "documents": passages}
    with httpx.Client(base_url=running.url, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as client:
        for path in ("/v1/rerank", "/v2/rerank"):
            assert client.post(path, json=asked).status_code == 200
        assert client.post("/rerank", json={"query": query, "texts": passages}).status_code == 200
        assert (
            client.post("/predict", json={"inputs": [[query, each] for each in passages]}).status_code == 200
        )
        assert client.post("/v1/rerank", json={**asked, "documents": [passages[0], 5]}).status_code == 400
        assert client.post("/predict", json={"inputs": [[query, *passages]]}).status_code == 422
    running.stop()
    assert not any(text.encode() in collector[0].SerializeToString() for text in (query, *passages[::2]))
    spans = spans_of(collector)
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in spans} == {(TRACE, PARENT)}
    found = [attributes_of(span) for span in spans]
    pairs = [(query, passage) for passage in passages]
    scored = [("/v1/rerank", "reranker"), ("/v2/rerank", "reranker"), ("/rerank", "reranker")]
    for span, (route, model) in zip(found, [*scored, ("/predict", "classifier")], strict=False):
        tokens = (reranker if model == "reranker" else classifier).tokenize(pairs)
        assert span == {
            "http.request.method": "POST",
            "http.route": route,
            "http.response.status_code": 200,
            "m3e.model": model,
            "m3e.texts": len(pairs),
            "m3e.tokens": sum(map(len, tokens.ids)),
        }
    assert [(span["http.route"], span["http.response.status_code"]) for span in found[4:]] == [
        ("/v1/rerank", 400),
        ("/predict", 422),
    ]


def test_opentelemetry_is_not_imported_by_default():
    code = "import sys, m3e_serve.app; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_says_what_to_install(bundle, monkeypatch, capsys):
    from m3e_serve.cli import main

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert main([str(bundle), "--otel", "--port", "0"]) == 5
    assert "m3e-runtime[otel]" in capsys.readouterr().err
