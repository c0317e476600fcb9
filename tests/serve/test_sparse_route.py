"""``/embed_sparse``, as text-embeddings-inference has it."""

import httpx
import numpy as np
import pytest

from m3e_runtime import AsyncEncoder, Encoder

TEXTS = ["今天天气很好", "short short", "a longer English sentence about nothing", ""]


@pytest.fixture(scope="module")
def sparse_http(start, bge_m3_bundle):
    from m3e_serve.settings import ModelSource

    service = start(models=(ModelSource("bge-m3", bge_m3_bundle),))
    with httpx.Client(base_url=service.url) as client:
        yield client


def as_dicts(answer):
    assert answer.status_code == 200, answer.text
    for row in answer.json():
        assert [each["index"] for each in row] == sorted(each["index"] for each in row)
    return [{each["index"]: each["value"] for each in row} for row in answer.json()]


def test_weights_are_the_encoders(sparse_http, bge_m3_bundle):
    encoder = Encoder.load(bge_m3_bundle)
    expected = [each.as_dict() for each in encoder.encode_outputs(TEXTS, ["sparse"]).sparse]
    assert as_dicts(sparse_http.post("/embed_sparse", json={"inputs": TEXTS})) == expected
    assert as_dicts(sparse_http.post("/embed_sparse", json={"inputs": TEXTS[0]})) == expected[:1]
    dense = np.array(sparse_http.post("/embed", json={"inputs": TEXTS}).json(), np.float32)
    assert dense.tobytes() == encoder.encode(TEXTS, normalize_embeddings=True).tobytes()


def test_requests_are_checked_as_those_of_embed(sparse_http):
    for body, status in (
        ({"inputs": []}, 400),
        ({"inputs": "x", "truncation_direction": "up"}, 422),
        ({"inputs": "x", "prompt_name": "absent"}, 422),
        ({"inputs": "long " * 600, "truncate": False}, 413),
        ({"inputs": [[5, 6]]}, 422),
    ):
        answer = sparse_http.post("/embed_sparse", json=body)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error", "error_type"}


def test_a_model_without_sparse_vectors_is_refused(http):
    answer = http.post("/embed_sparse", json={"inputs": "x"})
    assert answer.status_code == 424
    assert answer.json()["error_type"] == "Backend"
    assert "gives no sparse output" in answer.json()["error"]


async def _encoded(bundle):
    async with AsyncEncoder(Encoder.load(bundle)) as encoder:
        return await encoder.encode_outputs(TEXTS), await encoder.encode_outputs(TEXTS[1], ["dense"])


def test_the_asynchronous_encoder_gives_what_the_encoder_gives(bge_m3_bundle):
    import asyncio

    found, one = asyncio.run(_encoded(bge_m3_bundle))
    expected = Encoder.load(bge_m3_bundle).encode_outputs(TEXTS)
    assert found.dense.tobytes() == expected.dense.tobytes()
    assert [each.as_dict() for each in found.sparse] == [each.as_dict() for each in expected.sparse]
    assert [each.tobytes() for each in found.multi_vector] == [
        each.tobytes() for each in expected.multi_vector
    ]
    assert one.dense.tobytes() == expected.dense[1].tobytes()
    assert one.sparse is None


def test_weights_of_terms_of_a_splade_model(start, few_texts, tmp_path):
    from m3e_export import ExportRequest, export
    from m3e_serve.settings import ModelSource
    from splade import make_splade

    pytest.importorskip("sentence_transformers.sparse_encoder")
    folder = make_splade(tmp_path / "model")
    bundle = export(ExportRequest(str(folder), tmp_path / "bundle", gate=str(few_texts))).path
    expected = Encoder.load(bundle).encode_outputs(TEXTS, ["sparse"]).sparse
    service = start(models=(ModelSource("splade", bundle),))
    with httpx.Client(base_url=service.url) as client:
        found = as_dicts(client.post("/embed_sparse", json={"inputs": TEXTS}))
        assert found == [each.as_dict() for each in expected]
        answer = client.post("/embed", json={"inputs": TEXTS[0]})
    assert answer.status_code == 422
    assert "encode_outputs" in answer.json()["error"]
