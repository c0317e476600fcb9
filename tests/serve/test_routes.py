"""Bundles of a model with a Router under one name: a request's task selects the route."""

from __future__ import annotations

import numpy as np
import pytest

import synthetic
from m3e_export import ExportRequest, export
from m3e_runtime import Encoder, OptionError

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("sentence_transformers", reason="the extra `torch` is not installed")

HIDDEN = synthetic.TINY["hidden"]
TEXT = "今天天气很好"


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """A model with a separate layer for queries: its bundles, and the vectors of sentence-transformers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Pooling, Router, Transformer

    folder = tmp_path_factory.mktemp("routes")
    base = synthetic.make_checkpoint(folder / "base", **synthetic.TINY)
    torch.manual_seed(0)
    dense = Dense(HIDDEN, HIDDEN, activation_function=torch.nn.ReLU())
    router = Router({"query": [dense], "document": []}, default_route="document")
    modules = [Transformer(str(base)), Pooling(HIDDEN), router]
    model = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "查询: "})
    model.save_pretrained(str(folder / "saved"))
    texts = folder / "gate.txt"
    texts.write_text("\n".join(f"第{i}句 sentence {i}" for i in range(24)), encoding="utf-8")
    bundles = {}
    for name in ("query", "document"):
        request = ExportRequest(str(folder / "saved"), folder / name, gate=str(texts), route=name)
        bundles[name] = export(request).path
    expected = {
        "query": model.encode_query(TEXT, normalize_embeddings=True),
        "document": model.encode_document(TEXT, normalize_embeddings=True),
    }
    return bundles, expected


def sources(bundles, *names):
    from m3e_serve.settings import ModelSource

    return tuple(ModelSource("both", bundles[name]) for name in names)


@pytest.fixture(scope="module")
def service(start, routes):
    running = start(models=sources(routes[0], "query", "document"))
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("said", "route"),
    [
        ({}, "document"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "search_query"}, "query"),
        ({"task": "retrieval.query"}, "query"),
        ({"prompt_name": "query"}, "query"),
        ({"prompt_name": "document"}, "document"),
        ({"input_type": "document"}, "document"),
        ({"task": "retrieval.passage"}, "document"),
    ],
)
def test_the_type_of_texts_selects_the_route(service, routes, said, route):
    import httpx

    answer = httpx.post(f"{service.url}/v1/embeddings", json={"input": TEXT, "model": "both", **said}).json()
    assert answer["model"] == "both"
    np.testing.assert_allclose(answer["data"][0]["embedding"], routes[1][route], atol=1e-4)


def test_all_interfaces_select_the_route(service, routes):
    import httpx

    def post(path, **body):
        answer = httpx.post(service.url + path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    expected = routes[1]
    found = post("/embed", inputs=TEXT, prompt_name="query")
    np.testing.assert_allclose(found[0], expected["query"], atol=1e-4)
    np.testing.assert_allclose(post("/embed", inputs=TEXT)[0], expected["document"], atol=1e-4)
    found = post("/api/embed", input=TEXT, model="both")["embeddings"]
    np.testing.assert_allclose(found[0], expected["document"], atol=1e-4)
    assert post("/tokenize", inputs="a", prompt_name="query") != post("/tokenize", inputs="a")
    inputs = {"source_sentence": TEXT, "sentences": [TEXT]}
    assert post("/similarity", inputs=inputs, parameters={"prompt_name": "query"})[0] == pytest.approx(1)
    ids = Encoder.load(routes[0]["document"]).tokenizer.encode(TEXT).tolist()
    body = {"input": ids, "tokenizer": "both", "input_type": "document"}
    found = post("/v1/embeddings", **body)["data"][0]["embedding"]
    np.testing.assert_allclose(found, expected["document"], atol=1e-4)
    refused = httpx.post(f"{service.url}/v1/embeddings", json={**body, "input_type": "query"})
    assert refused.status_code == 400  # the prompt for queries cannot be prepended to ids


def test_the_routes_are_one_model(service):
    import httpx

    assert [each["id"] for each in httpx.get(f"{service.url}/v1/models").json()["data"]] == ["both"]
    assert [each["route"] for each in httpx.get(f"{service.url}/info").json()["m3e"]] == ["query", "document"]
    httpx.post(f"{service.url}/v1/embeddings", json={"input": TEXT, "prompt_name": "query"})
    figures = httpx.get(f"{service.url}/metrics").text
    assert 'model="both:query"' in figures
    assert 'model="both:document"' in figures
    schemas = httpx.get(f"{service.url}/openapi.json").json()["components"]["schemas"]
    assert schemas["EmbedRequest"]["properties"]["prompt_name"]["enum"] == [None, "document", "query"]


def test_an_unknown_prompt_name_is_rejected(service):
    import httpx

    answer = httpx.post(f"{service.url}/v1/embeddings", json={"input": TEXT, "prompt_name": "passage2"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt_name"


def test_a_route_that_is_not_served_is_rejected_by_name(start, routes):
    import httpx

    alone = start(models=sources(routes[0], "query"))
    answers = [
        httpx.post(f"{alone.url}/v1/embeddings", json={"input": TEXT, "input_type": kind})
        for kind in ("query", "document")
    ]
    alone.stop()
    np.testing.assert_allclose(answers[0].json()["data"][0]["embedding"], routes[1]["query"], atol=1e-4)
    assert answers[1].status_code == 400
    assert "route 'document'" in answers[1].json()["error"]["message"]


def test_bundles_of_one_name_must_be_routes_of_one_model(start, routes, bundle):
    from m3e_serve.settings import ModelSource

    bundles = routes[0]
    for wrong in (
        sources(bundles, "query", "query"),
        (*sources(bundles, "query"), ModelSource("both", bundle)),
        (ModelSource("both", bundle), ModelSource("both", bundle)),
    ):
        with pytest.raises(OptionError, match="two bundles have the name both"):
            start(models=wrong)
