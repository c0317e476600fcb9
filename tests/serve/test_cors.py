"""Web pages of other origins, allowed by ``--cors-origin``."""

import hashlib
import http.server
import subprocess
import threading
from functools import partial

import httpx
import pytest

from m3e_runtime import OptionError
from m3e_runtime.scheduling import QueueLimits
from m3e_serve.settings import ModelSource, ServeSettings
from raw_http import raw, read_all

ORIGIN = "https://app.example"
KEY = hashlib.sha256(b"secret").digest()


@pytest.fixture(scope="module")
def service(start):
    running = start(cors_origins=(ORIGIN,), key_digests=(KEY,), max_body=20_000)
    yield running
    running.stop()


def preflight(service, headers, origin=ORIGIN, path="/v1/embeddings", method="POST"):
    asked = {"origin": origin, "access-control-request-method": method}
    return httpx.options(service.url + path, headers={**asked, "access-control-request-headers": headers})


@pytest.mark.parametrize(
    "headers", ["authorization,content-type", "X-Stainless-Lang, x-stainless-os", "traceparent", "x-of-2030"]
)
def test_requested_headers_are_allowed(service, headers):
    answer = preflight(service, headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == headers
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_other_origins_and_methods_are_not_allowed(service):
    answer = preflight(service, "content-type", origin="https://app.example.evil")
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    assert preflight(service, "content-type", method="DELETE").status_code == 400


@pytest.mark.parametrize(
    ("path", "key", "body", "status"),
    [
        ("/v1/embeddings", "secret", '{"input": "a"}', 200),
        ("/v1/embeddings", "another", '{"input": "a"}', 401),
        ("/v1/embeddings", "secret", "{", 400),
        ("/v1/embeddings", "secret", '{"input": "a", "model": "gpt-4"}', 404),
        ("/v1/nothing", "secret", "{}", 404),
        ("/v1/models", "secret", "{}", 405),
        ("/v1/embeddings", "secret", "a" * 20_001, 413),
        ("/embed", "secret", '{"inputs": 5}', 422),
    ],
)
def test_pages_can_read_every_response_and_its_useful_headers(service, path, key, body, status):
    headers = {"origin": ORIGIN, "authorization": f"Bearer {key}"}
    answer = httpx.post(service.url + path, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    exposed = answer.headers["access-control-expose-headers"].lower().replace(" ", "").split(",")
    assert {"x-request-id", "retry-after", "x-should-retry"} <= set(exposed)


REQUEST = b"POST /embed HTTP/1.1\r\nHost: a\r\nOrigin: %b\r\n"
REFUSED_BEFORE_THE_APPLICATION = {
    431: b"X-Many: %b\r\n" % (b"x" * 200_000),
    400: b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    501: b"Transfer-Encoding: gzip, chunked\r\n\r\n",
}


def refused(running, request):
    with raw(running, request) as connection:
        head = read_all(connection).partition(b"\r\n\r\n")[0].decode()
    status, *lines = head.split("\r\n")
    return int(status.split()[1]), httpx.Headers([line.split(": ", 1) for line in lines])


@pytest.mark.parametrize("status", REFUSED_BEFORE_THE_APPLICATION)
def test_pages_can_read_rejections_before_the_application(service, status):
    rest = REFUSED_BEFORE_THE_APPLICATION[status]
    found, headers = refused(service, REQUEST % ORIGIN.encode() + rest)
    assert (found, headers["access-control-allow-origin"], headers["vary"]) == (status, ORIGIN, "Origin")
    exposed = headers["access-control-expose-headers"].split(", ")
    assert exposed == ["m3e-truncated", "retry-after", "x-request-id", "x-should-retry"]
    found, headers = refused(service, REQUEST % b"https://app.example.evil" + rest)
    assert (found, "access-control-allow-origin" in headers) == (status, False)


def test_pages_can_read_503_for_too_many_connections(start):
    few = start(cors_origins=("*",), max_connections=1)
    with raw(few):
        found, headers = refused(few, REQUEST % ORIGIN.encode() + b"Content-Length: 2\r\n\r\n{}")
    few.stop()
    assert (found, headers["access-control-allow-origin"]) == (503, "*")
    assert "retry-after" in headers


def test_pages_can_read_429(start, hold):
    encoders = []

    def prepare(service):
        encoders.append(service.models.default.encoder)

    full = start(prepare, cors_origins=("*",), queue=QueueLimits(texts=1))
    held = hold(encoders[0])
    thread = threading.Thread(
        target=httpx.post, args=(f"{full.url}/embed",), kwargs={"json": {"inputs": "a"}}
    )
    thread.start()
    assert held.busy.wait(20)
    answer = httpx.post(f"{full.url}/embed", json={"inputs": "a"}, headers={"origin": ORIGIN})
    assert answer.status_code == 429
    assert answer.headers["access-control-allow-origin"] == "*"
    held.free.set()
    thread.join()
    full.stop()


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://app.example/", "https://app.example/page", "https://App.example", "", "**"],
)
def test_invalid_origins_are_rejected(bundle, origin):
    with pytest.raises(OptionError, match="--cors-origin"):
        ServeSettings(models=(ModelSource("tiny", bundle),), cors_origins=(origin,))


CLIENT = """
import OpenAI from "openai";

window.embed = async (url, key, input) => {
  const options = { baseURL: url + "/v1", apiKey: key, dangerouslyAllowBrowser: true, maxRetries: 0 };
  try {
    const answer = await new OpenAI(options).embeddings.create({ model: "tiny", input });
    return answer.data.map(each => each.embedding.length);
  } catch (error) {
    return [error.status, error.requestID, error.message];
  }
};
"""


@pytest.fixture(scope="module")
def client_page(node_packages, tmp_path_factory):
    """URL of a page of another origin with OpenAI's JavaScript client."""
    esbuild = node_packages / ".bin" / "esbuild"
    if not (esbuild.exists() and (node_packages / "openai").exists()):
        pytest.skip("esbuild or openai is not among the packages for node")
    folder = tmp_path_factory.mktemp("page")
    (folder / "node_modules").symlink_to(node_packages)
    (folder / "client.mjs").write_text(CLIENT, encoding="utf-8")
    command = [esbuild, "client.mjs", "--bundle", "--format=iife", "--outfile=bundle.js", "--log-level=error"]
    subprocess.run(command, check=True, cwd=folder)
    page = '<!doctype html><meta charset="utf-8"><script src="bundle.js"></script>'
    (folder / "index.html").write_text(page, encoding="utf-8")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_openais_client_in_a_page_of_another_origin(browser, client_page, start, encoder):
    allowing = start(cors_origins=(client_page,), key_digests=(KEY,))
    page = browser.new_page()
    page.goto(client_page)

    def embed(key, texts):
        return page.evaluate("([url, key, texts]) => embed(url, key, texts)", [allowing.url, key, texts])

    assert embed("secret", ["今天", "b"]) == [encoder.dimension] * 2
    status, request_id, message = embed("another", ["a"])
    assert (status, "Incorrect API key" in message) == (401, True)
    assert request_id
    page.close()
    allowing.stop()
