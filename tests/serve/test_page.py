"""The page at ``/``, in a browser."""

import hashlib
import http.client
import http.server
import re
import threading

import pytest

ATTACK = '<img src=x onerror="document.title=1"><b>bold</b>'


@pytest.fixture
def page(browser):
    """A page; whatever goes wrong in it fails the test."""
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    page.problems = problems
    yield page
    page.close()


def text_of(page, selector):
    return page.locator(selector).inner_text()


def becomes(page, selector, text):
    page.locator(selector).filter(has_text=text).wait_for()


def test_it_shows_health_models_and_their_fidelity(page, running, encoder):
    page.goto(running.url)
    page.wait_for_selector("#health.good")
    assert text_of(page, "#health") == "ready"
    page.wait_for_selector("#models tr:nth-child(7)")
    shown = text_of(page, "#models")
    fidelity = encoder.info["fidelity"]
    assert f"{fidelity['mean_cosine']:.6f} on average" in shown
    assert encoder.info["source"] in shown
    assert page.locator("#model option").all_inner_texts() == ["tiny"]
    assert page.problems == []


def test_it_compares_texts_and_counts_latency(page, running, encoder):
    page.goto(running.url)
    page.wait_for_selector("#model option", state="attached")
    becomes(page, "#answers", "0")
    page.locator("#texts").fill("今天天气很好\n\nThe weather is lovely today.\n今天天气很好")
    page.locator("button").click()
    page.wait_for_selector("#found tr:nth-child(3)")
    vectors = encoder.encode(["今天天气很好", "The weather is lovely today."], normalize_embeddings=True)
    cosine = float(vectors[0] @ vectors[1])
    rows = page.locator("#found tr").all_inner_texts()
    assert [row.split("\t")[1] for row in rows] == [
        "今天天气很好",
        "The weather is lovely today.",
        "今天天气很好",
    ]
    assert [float(row.split("\t")[0]) for row in rows] == pytest.approx([1, cosine, 1], abs=1e-4)
    assert "tokens" in text_of(page, "#cost")
    becomes(page, "#answers", "1")
    assert text_of(page, "#p50").endswith(" ms")
    assert page.problems == []


def test_texts_are_never_markup(page, running):
    page.goto(running.url)
    page.wait_for_selector("#model option", state="attached")
    page.locator("#texts").fill(ATTACK)
    page.locator("button").click()
    page.wait_for_selector("#found tr")
    assert ATTACK in text_of(page, "#found")
    assert page.locator("#found img, #found b").count() == 0
    assert page.title() == "m3e-serve"
    assert page.problems == []


def test_mistakes_are_shown(page, running):
    page.goto(running.url)
    page.wait_for_selector("#model option", state="attached")
    page.locator("#texts").fill("\n")
    page.locator("button").click()
    page.wait_for_selector("#said:not(:empty)")
    assert "empty" in text_of(page, "#said")


def test_a_key_is_asked_for_and_used(page, start):
    guarded = start(key_digests=(hashlib.sha256(b"secret").digest(),))
    page.goto(guarded.url)
    page.wait_for_selector("#models tr")
    assert "asks for a key" in text_of(page, "#models")
    page.locator("#key").fill("secret")
    page.locator("button").click()
    page.wait_for_selector("#model option", state="attached")
    page.locator("button").click()
    page.wait_for_selector("#found tr:nth-child(3)")
    guarded.stop()


def test_nothing_is_fetched_from_elsewhere_and_the_policy_would_not_let_it(page, running):
    page.goto(running.url)
    page.wait_for_selector("#health.good")
    assert all(url.startswith((running.url, "data:")) for url in page.requested), page.requested
    blocked = page.evaluate(
        """async () => {
          const failed = await fetch("https://example.com").then(() => false, () => true);
          const script = document.createElement("script");
          script.textContent = "document.title = 'injected'";
          document.head.append(script);
          return failed && document.title === "m3e-serve";
        }"""
    )
    assert blocked
    assert sum("Content Security Policy" in problem for problem in page.problems) >= 2


class Stripping(http.server.BaseHTTPRequestHandler):
    """A proxy that shows a service under ``/m3e`` and knows no other path."""

    def do_GET(self):
        stripped = self.path.removeprefix("/m3e").removeprefix("/")
        if stripped == self.path:
            self.send_error(404)
            return
        length = int(self.headers.get("content-length", 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        headers = {name: self.headers[name] for name in ("content-type",) if name in self.headers}
        upstream.request(self.command, f"/{stripped}", self.rfile.read(length) if length else None, headers)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        upstream.close()

    do_POST = do_GET  # noqa: N815 - the name is that of http.server

    def log_message(self, *_):
        pass


@pytest.fixture
def prefix(running):
    """Where a proxy shows the service."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stripping) as proxy:
        proxy.port = running.port
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}/m3e"
        proxy.shutdown()
        thread.join()


@pytest.mark.parametrize("end", ["", "/"])
def test_it_works_behind_a_proxy_that_strips_a_prefix(page, prefix, end):
    page.goto(prefix + end)
    page.wait_for_selector("#health.good")
    page.wait_for_selector("#model option", state="attached")
    page.locator("button").click()
    page.wait_for_selector("#found tr:nth-child(3)")
    assert "/m3e/v1/embeddings" in text_of(page, "footer")
    assert page.problems == []


def test_the_description_leads_through_that_proxy_too(prefix):
    httpx = pytest.importorskip("httpx")
    described = httpx.get(f"{prefix}/openapi.json")
    (server,) = described.json()["servers"]
    base = str(described.url.join(server["url"])).removesuffix("/")
    assert base == prefix
    assert httpx.get(f"{base}/v1/models").status_code == 200


def test_the_page_asks_for_no_path_from_the_root(http):
    assert not re.search(r"""(fetch|ask)\(["'`]/|(href|src)="/""", http.get("/").text)


def test_the_policy_allows_exactly_the_pages_own_script_and_style(http):
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "https:" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_service_that_ends_is_seen(page, start):
    ending = start()
    page.goto(ending.url)
    page.wait_for_selector("#health.good")
    ending.stop()
    page.wait_for_selector("#health.bad")
    assert text_of(page, "#health") == "not reachable"
