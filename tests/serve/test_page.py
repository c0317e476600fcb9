"""The page at ``/``, in a browser."""

import hashlib
import http.client
import http.server
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

ATTACK = '<img src=x onerror="document.title=1"><b>bold</b>'
TEXTS = ["今天天气很好", "The weather is lovely today.", "今天天气很好", "A dog"]
MANY = " ".join(["token"] * 100)


class Recorded:
    """What a page asks for, and what goes wrong in it."""

    def __init__(self, page):
        self.requested, self.problems = [], []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._message)
        page.on("request", lambda request: self.requested.append(request.url))

    def _message(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)


@pytest.fixture
def open_page(browser):
    """Open a page with these settings of a browser."""
    contexts = []

    def begin(**settings):
        contexts.append(browser.new_context(**{"locale": "en-US", **settings}))
        page = contexts[-1].new_page()
        page.recorded = Recorded(page)
        return page

    yield begin
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page):
    """A page of an English browser."""
    return open_page()


def text_of(page, selector):
    return page.locator(selector).first.inner_text()


def becomes(page, selector, text):
    page.locator(selector).filter(has_text=text).first.wait_for()


def visit(page, url):
    """Open the page and wait until it knows the models."""
    page.goto(url)
    page.wait_for_selector("#health.good")
    page.wait_for_selector("#model option", state="attached")
    return page


def compare(page, texts):
    """The matrix of these texts: the shown figures by row."""
    page.locator("#texts").fill("\n".join(texts))
    page.locator("#run").click()
    page.locator(".matrix tbody tr").nth(len(texts) - 1).wait_for()
    return shown_matrix(page)


def shown_matrix(page):
    rows = page.locator(".matrix tbody tr").all()
    return [[float(cell) for cell in row.locator("td").all_inner_texts()] for row in rows]


def until(page, script):
    """Wait until a script gives true; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + 30
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(100)


def paths(page, name):
    return page.locator(f".line.{name}").get_attribute("d")


def test_it_shows_health_and_a_card_for_each_model(page, running, encoder):
    visit(page, running.url)
    assert text_of(page, "#health").endswith("Ready")
    card = page.locator(".card")
    assert card.count() == 1
    card.locator("summary").click()
    shown, info = card.inner_text(), encoder.info
    assert "tiny" in shown
    for name in ("source", "precision", "engine", "pooling", "artifact"):
        assert info[name] in shown
    for term, value in (
        ("Dimension", info["dimension"]),
        ("Max tokens", info["max_seq_length"]),
        ("Threads", running.service.models.default.encoder.info["threads"]),
    ):
        assert re.search(rf"{term}\n+{value}\b", shown)
    assert f"{info['fidelity']['mean_cosine']:.5f}" in shown
    assert page.locator("#model option").all_inner_texts() == ["tiny"]
    assert page.recorded.problems == []


def test_the_matrix_holds_the_cosine_of_each_pair(page, running, encoder):
    visit(page, running.url)
    shown = compare(page, TEXTS)
    vectors = encoder.encode(TEXTS, normalize_embeddings=True)
    assert len(shown) == len(TEXTS)
    for row, expected in zip(shown, vectors @ vectors.T, strict=True):
        assert row == pytest.approx(expected.tolist(), abs=6e-4)
    assert page.locator(".matrix tbody th .text").all_inner_texts() == TEXTS
    assert "tokens" in text_of(page, "#cost")
    assert page.recorded.problems == []


def test_empty_lines_are_no_texts(page, running):
    visit(page, running.url)
    page.locator("#texts").fill("\none\n \n\ntwo\n")
    page.locator("#run").click()
    page.wait_for_selector(".matrix")
    assert page.locator(".matrix tbody th .text").all_inner_texts() == ["one", "two"]


def test_cosines_are_taken_of_vectors_of_any_length(page, running):
    visit(page, running.url)
    cosines = page.evaluate(
        "async () => (await import('./page/matrix.js')).cosines([[3, 4], [8, 6], [-30, -40]])"
    )
    assert cosines[0] == pytest.approx([1, 0.96, -1])


CONTRAST = """async () => {
  const { colours } = await import("./page/colours.js");
  const channels = (colour) => ({ "#000": [0, 0, 0], "#fff": [255, 255, 255] })[colour] ?? colour.match(/\\d+/g).map(Number);
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const bright = (colour) => channels(colour).reduce((sum, value, at) => sum + [0.2126, 0.7152, 0.0722][at] * linear(value), 0);
  const contrasts = [];
  for (let step = -10; step <= 210; step++) {
    const made = Object.fromEntries(colours(step / 200));
    for (const kind of ["light", "dark"]) {
      const both = [bright(made[`--${kind}`]), bright(made[`--on-${kind}`])].sort((a, b) => b - a);
      contrasts.push((both[0] + 0.05) / (both[1] + 0.05));
    }
  }
  return Math.min(...contrasts);
}"""  # noqa: E501 - a script


def test_figures_can_be_read_on_every_colour(page, running):
    visit(page, running.url)
    assert page.evaluate(CONTRAST) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cells_have_the_colours_of_the_scheme(open_page, running, scheme):
    page = visit(open_page(color_scheme=scheme), running.url)
    compare(page, ["one", "two"])
    cell = page.locator(".matrix tbody td").first
    shown = cell.evaluate("cell => getComputedStyle(cell).backgroundColor")
    meant = cell.evaluate("(cell, name) => cell.style.getPropertyValue(name)", f"--{scheme}")
    assert re.findall(r"\d+", shown) == re.findall(r"\d+", meant)


def test_the_matrix_is_walked_by_keyboard_and_names_its_texts(page, running):
    visit(page, running.url)
    compare(page, ["first text", "second text"])
    grid = page.get_by_role("grid", name="Cosine similarity of 2 texts")
    assert grid.get_by_role("gridcell").count() == 4
    assert page.locator(".matrix td[tabindex='0']").count() == 1
    page.locator(".matrix td[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")  # there is none: it stays
    focused = page.evaluate("document.activeElement.textContent")
    assert text_of(page, ".detail") == f"{focused} “first text” · “second text”"
    assert page.locator(".matrix td[tabindex='0']").count() == 1


@pytest.mark.parametrize(
    ("languages", "tag", "load", "examples"),
    [
        ("zh-CN", "zh-CN", "实时负载", "花呗"),
        ("zh-TW", "zh-CN", "实时负载", "花呗"),
        ("en-GB", "en", "Load", "card"),
        ("fr-FR", "en", "Load", "card"),
    ],
)
def test_the_language_is_the_browsers(open_page, running, languages, tag, load, examples):
    page = visit(open_page(locale=languages), running.url)
    assert page.evaluate("document.documentElement.lang") == tag
    assert text_of(page, "#load-title") == load
    assert examples in page.locator("#texts").input_value()
    assert page.recorded.problems == []


def test_the_first_language_that_the_page_has_is_taken(page, running):
    visit(page, running.url)
    script = "async (tags) => (await import('./page/language.js')).preferred(tags)"
    assert page.evaluate(script, ["de", "zh-Hans-CN", "en"]) == "zh"
    assert page.evaluate(script, ["de", "en-US", "zh"]) == "en"
    assert page.evaluate(script, []) == "en"


def test_the_reader_switches_the_language_and_it_is_kept(page, running):
    visit(page, running.url)
    compare(page, ["one", "two"])
    page.locator("#languages button[value=zh]").click()
    for selector, text in (
        ("#health", "就绪"),
        ("#latency h3", "延迟"),
        ("#queue .legend", "排队"),
        (".card", "向量维度"),
        ("#run", "计算相似度"),
        ("#cost", "往返耗时"),
        (".detail", "方向键"),
    ):
        assert text in text_of(page, selector)
    assert page.locator("#texts").input_value() == "one\ntwo"
    assert page.locator("#languages button[value=zh]").get_attribute("aria-pressed") == "true"
    visit(page, running.url)
    assert text_of(page, "#load-title") == "实时负载"


def test_no_english_is_left_in_chinese(open_page, running):
    page = visit(open_page(locale="zh-CN"), running.url)
    compare(page, ["一", "二"])
    shown = page.locator("#page").inner_text()
    english = r"\b(Load|Latency|Throughput|Queue|Compare|Models|Connect|Dimension|now|ago|Ready)\b"
    assert re.findall(english, shown) == []


def test_the_charts_move_under_load(page, running):
    httpx = pytest.importorskip("httpx")
    visit(page, running.url)
    page.wait_for_selector(".line.tokens", state="attached")
    before = {name: paths(page, name) for name in ("p50", "p95", "p99", "tokens", "waiting")}
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=running.url, timeout=30) as client:
        asked = [pool.submit(client.post, "/embed", json={"inputs": [MANY] * 4}) for _ in range(100)]
        assert all(each.result().status_code == 200 for each in asked)
    until(page, "document.querySelector('#latency .series.p99 b').textContent.endsWith('s')")
    until(page, "Number(document.querySelector('#throughput b').textContent.replaceAll(/[^0-9.]/g, '')) > 0")
    after = {name: paths(page, name) for name in before}
    assert all(after[name] != before[name] for name in before)
    assert all(after[name] for name in before)
    label = page.locator("#latency svg").get_attribute("aria-label")
    assert re.match(r"Latency: p50 [\d.]+ m?s, p95 [\d.]+ m?s, p99 [\d.]+ m?s", label)
    assert "answers/s" in text_of(page, "#latency .note")
    assert page.recorded.problems == []


def test_waiting_tokens_and_requests_in_flight_are_those_of_the_metrics(page, running):
    content = "\n".join(
        [
            'm3e_waiting_tokens{model="a"} 30.0',
            'm3e_waiting_tokens{model="b \\"quoted\\", {odd}"} 12.0',
            "m3e_requests_in_flight 3.0",
            'm3e_rejected_total{reason="busy"} 2.0',
            'm3e_rejected_created{reason="busy"} 1.7e+09',
            'm3e_batch_tokens_sum{model="a"} 100.0',
            'm3e_request_seconds_bucket{le="0.5",route="/embed"} 3.0',
            'm3e_request_seconds_bucket{le="+Inf",route="/embed"} 4.0',
            'm3e_request_seconds_bucket{le="0.5",route="/metrics"} 50.0',
            'm3e_request_seconds_bucket{le="+Inf",route="/metrics"} 50.0',
        ]
    )
    visit(page, running.url)
    found = page.evaluate(
        """async (content) => {
          const { time, buckets, ...rest } = (await import("./page/metrics.js")).snapshot(content, 7);
          return [rest, time, buckets.map(([bound, count]) => [String(bound), count])];
        }""",
        content,
    )
    assert found == [
        {"requests": 4, "tokens": 100, "texts": 0, "waiting": 42, "inFlight": 3, "refused": 2},
        7,
        [["0.5", 3], ["Infinity", 4]],
    ]


def test_percentiles_are_linear_in_the_bucket_as_prometheus_has_them(page, running):
    visit(page, running.url)
    found = page.evaluate(
        """async () => {
          const { difference, quantile } = await import("./page/metrics.js");
          const before = [[1, 10], [2, 10], [4, 10], [Infinity, 10]];
          const after = [[1, 60], [2, 60], [4, 105], [Infinity, 110]];
          const since = difference(after, before);
          return [...[0.25, 0.5, 0.95, 0.99].map((share) => quantile(since, share)), quantile(difference(after, after), 0.5)];
        }"""  # noqa: E501 - a script
    )
    assert found == [pytest.approx(0.5), pytest.approx(1), pytest.approx(4), 4, None]


HISTORY = """async (snapshots) => {
  const { History } = await import("./page/history.js");
  const history = new History();
  const others = { buckets: [], requests: 0, texts: 0, waiting: 0, inFlight: 0, refused: 0 };
  for (const [time, tokens] of snapshots) history.add({ ...others, time: 1000 * time, tokens });
  return history.samples.map(({ tokens }) => tokens);
}"""


@pytest.mark.parametrize(
    ("snapshots", "rates"),
    [
        ([(0, 0), (2, 20), (4, 20)], [None, 10, 5]),
        ([(0, 0), (5, 0), (10, 100), (15, 100), (20, 100), (25, 100)], [None, 0, 10, 10, 0, 0]),
        ([(0, 0), (2, 20), (100, 9999), (102, 10001)], [None, 10, None, 1]),  # nobody looked
        ([(0, 500), (2, 20), (4, 40)], [None, None, 10]),  # the service was started anew
    ],
)
def test_rates_are_those_of_the_last_ten_seconds(page, running, snapshots, rates):
    visit(page, running.url)
    assert page.evaluate(HISTORY, snapshots) == rates


def test_a_chart_is_read_by_keyboard(page, running):
    visit(page, running.url)
    until(page, "document.querySelector('.line.waiting')?.getAttribute('d').includes('L')")
    page.locator("#queue svg").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#queue .rule").count() == 1
    page.keyboard.press("Tab")
    assert page.locator("#queue .rule").count() == 0


def test_a_hidden_page_asks_for_nothing(page, running):
    page.add_init_script(
        """Object.defineProperty(document, "hidden", { get: () => window.isAway ?? false });
        window.turn = (away) => {
          window.isAway = away;
          document.dispatchEvent(new Event("visibilitychange"));
        };"""
    )
    visit(page, running.url)
    page.evaluate("turn(true)")
    page.wait_for_timeout(2500)  # what was under way ends
    asked = len(page.recorded.requested)
    page.wait_for_timeout(4500)  # two periods
    assert len(page.recorded.requested) == asked
    with page.expect_request("**/metrics"):
        page.evaluate("turn(false)")


def test_texts_are_never_markup(page, running):
    visit(page, running.url)
    compare(page, [ATTACK])
    page.locator(".matrix td[tabindex='0']").focus()
    assert ATTACK in text_of(page, ".detail")
    assert page.locator("#result img, #result tbody th b").count() == 0
    assert page.title() == "m3e-serve"
    assert page.recorded.problems == []


def test_mistakes_are_shown(page, running):
    visit(page, running.url)
    page.locator("#texts").fill("\n")
    page.locator("#run").click()
    page.wait_for_selector("#error:not(:empty)")
    assert "empty" in text_of(page, "#error")


def test_more_lines_than_a_table_holds_are_refused(page, running):
    visit(page, running.url)
    page.locator("#texts").fill("\n".join(map(str, range(41))))
    page.locator("#run").click()
    page.wait_for_selector("#error:not(:empty)")
    assert text_of(page, "#error") == "Enter at most 40 lines; these are 41."
    assert not any(url.endswith("/v1/embeddings") for url in page.recorded.requested)


def test_a_key_is_asked_for_and_used(page, start):
    guarded = start(key_digests=(hashlib.sha256(b"secret").digest(),))
    page.goto(guarded.url)
    becomes(page, "#models", "Enter an API key")
    page.locator("#key").fill("wrong")
    page.locator("#run").click()
    becomes(page, "#error", "Incorrect API key")
    page.locator("#key").fill("secret")
    page.locator("#run").click()
    page.wait_for_selector(".card")
    page.wait_for_selector(".matrix")
    assert "Authorization: Bearer" in text_of(page, "#example")
    assert text_of(page, "#example").count("secret") == 0
    guarded.stop()


def test_no_key_is_asked_for_where_none_is_needed(page, running):
    visit(page, running.url)
    assert not page.locator("#key").is_visible()


def test_nothing_is_fetched_from_elsewhere_and_the_policy_would_not_let_it(page, running):
    visit(page, running.url)
    compare(page, ["one", "two"])
    assert all(url.startswith((f"{running.url}/", "data:")) for url in page.recorded.requested)
    assert page.recorded.problems == []
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
    assert sum("Content Security Policy" in problem for problem in page.recorded.problems) >= 2


class Stripping(http.server.BaseHTTPRequestHandler):
    """A proxy that shows a service under ``/m3e`` and knows no other path."""

    def do_GET(self):
        stripped = self.path.removeprefix("/m3e").removeprefix("/")
        if stripped == self.path.removeprefix("/"):
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


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_it_works_behind_a_proxy_that_strips_a_prefix(page, prefix, end):
    visit(page, prefix + end)
    compare(page, ["one", "two"])
    assert text_of(page, "#base-url") == f"{prefix}/v1"
    assert f"{prefix}/v1/embeddings" in text_of(page, "#example")
    outside = [url for url in page.recorded.requested if not url.startswith((prefix, "data:"))]
    assert outside == []
    assert page.recorded.problems == []


def test_doubled_slashes_lead_to_no_other_host(page, running):
    visit(page, f"{running.url}//")
    assert all(url.startswith((f"{running.url}/", "data:")) for url in page.recorded.requested)


def test_the_description_leads_through_that_proxy_too(prefix):
    httpx = pytest.importorskip("httpx")
    described = httpx.get(f"{prefix}/openapi.json")
    (server,) = described.json()["servers"]
    base = str(described.url.join(server["url"])).removesuffix("/")
    assert base == prefix
    assert httpx.get(f"{base}/v1/models").status_code == 200


@pytest.mark.parametrize("width", [320, 390, 700, 1000, 1280])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_is_wider_than_the_screen(open_page, running, width, locale):
    page = visit(open_page(locale=locale, viewport={"width": width, "height": 800}), running.url)
    compare(page, [MANY, "无空格" * 60, "x" * 300])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_service_that_ends_is_seen(page, start):
    ending = start()
    visit(page, ending.url)
    ending.stop()
    page.wait_for_selector("#health.bad")
    assert text_of(page, "#health").endswith("Not reachable")


PASSAGES = ["今天下午会下雨吗", "花呗更改绑定银行卡", "A dog"]


def rerank(page, query, passages):
    """The shown passages with their scores, from the top."""
    page.locator("#query").fill(query)
    page.locator("#passages").fill("\n".join(passages))
    page.locator("#rerank-run").click()
    page.locator(".ranking li").nth(sum(map(bool, passages)) - 1).wait_for()
    return [
        (item.locator(".passage").inner_text(), float(item.locator("b").inner_text()))
        for item in page.locator(".ranking li").all()
    ]


def test_passages_are_shown_in_the_order_of_their_scores(page, three, reranker):
    visit(page, three.url)
    assert page.locator("#model option").all_inner_texts() == ["tiny"]
    assert page.locator("#reranker option").all_inner_texts() == ["reranker"]
    query = "如何更换花呗绑定银行卡"
    ranks = reranker.rank(query, [ATTACK, *PASSAGES], return_documents=True, activation_fn="sigmoid")
    shown = rerank(page, query, ["", f"  {ATTACK}", *PASSAGES])
    assert [passage for passage, _ in shown] == [rank["text"] for rank in ranks]
    assert [score for _, score in shown] == pytest.approx([rank["score"] for rank in ranks], abs=6e-5)
    assert page.title() == "m3e-serve"
    cards = page.locator(".card").all_inner_texts()
    assert [re.search(r"Task\n+(\w+)", card)[1] for card in cards] == [
        "Embedding",
        "Reranking",
        "Classification",
    ]
    assert "LABEL_0, LABEL_1, LABEL_2" in cards[2]
    assert page.recorded.problems == []


def test_errors_of_the_reranker_are_shown_in_the_pages_language(page, three):
    visit(page, three.url)
    page.locator("#query").fill("")
    page.locator("#rerank-run").click()
    becomes(page, "#rerank-error", "The request failed: `query`: it is empty.")
    page.locator("#languages button[value=zh]").click()
    assert text_of(page, "#rerank-title") == "段落重排序"
    assert "花呗" in page.locator("#passages").input_value()


def test_a_service_of_a_reranker_has_no_similarity_matrix(page, start, reranker_bundle, running):
    from m3e_serve.settings import ModelSource

    alone = start(models=(ModelSource("reranker", reranker_bundle),))
    page.goto(alone.url)
    page.wait_for_selector("#reranker option", state="attached")
    assert not page.locator("#compare").is_visible()
    assert "/v1/rerank" in text_of(page, "#example")
    assert rerank(page, "a", PASSAGES)
    alone.stop()
    visit(page, running.url)
    assert not page.locator("#rerank").is_visible()
