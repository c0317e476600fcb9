"""The OpenAPI description, and whether the service conforms to it."""

import hashlib
import importlib.util
import subprocess
import sys

import pytest


def test_the_description_has_the_routes_and_limits(start):
    import httpx

    running = start(aliases={"ada": "tiny"}, pad_to=1536, key_digests=(hashlib.sha256(b"key").digest(),))
    described = httpx.get(f"{running.url}/openapi.json").json()
    properties = described["components"]["schemas"]["EmbeddingRequest"]["properties"]
    assert properties["model"] == {"enum": ["tiny", "ada", None]}
    assert properties["dimensions"]["anyOf"][0]["maximum"] == 1536
    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert described["paths"]["/health"]["get"]["security"] == []
    paths = {route.path.replace(":path", "") for route in running.server.config.app.routes}
    assert set(described["paths"]) | {"/openapi.json", "/page/{name}"} == paths
    running.stop()


def test_the_description_names_rerankers_and_their_limits(three):
    import httpx

    described = httpx.get(f"{three.url}/openapi.json").json()
    properties = described["components"]["schemas"]["RerankRequest"]["properties"]
    assert properties["model"] == {"enum": ["reranker", "rerank-v3.5", None]}
    assert properties["documents"]["maxItems"] == 100
    assert properties["max_tokens_per_doc"]["anyOf"][0]["minimum"] == 512
    embedding = described["components"]["schemas"]["EmbeddingRequest"]["properties"]
    assert embedding["model"] == {"enum": ["tiny", None]}


@pytest.mark.parametrize(
    ("key", "served"), [(None, "tiny"), ("key", "tiny"), (None, "all"), (None, "scores")]
)
def test_schemathesis_finds_nothing(start, bundle, reranker_bundle, classifier_bundle, key, served):
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    from m3e_serve.settings import ModelSource

    scores = (ModelSource("reranker", reranker_bundle), ModelSource("classifier", classifier_bundle))
    tiny = (ModelSource("tiny", bundle),)
    running = start(
        models={"tiny": tiny, "all": tiny + scores, "scores": scores}[served],
        key_digests=(hashlib.sha256(key.encode()).digest(),) if key else (),
    )
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json"]
    options = ["--max-examples", "25", "--seed", "1", "--generation-database", "none", "--no-color"]
    # JSON Schema has 1.0 for an integer, and we have not.
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    headers = ["--header", f"Authorization: Bearer {key}"] if key else []
    done = subprocess.run([*command, *options, *checks, *headers], capture_output=True, text=True)
    running.stop()
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "Tested: 23" in done.stdout
