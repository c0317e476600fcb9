"""Widely used clients of rerankers, unmodified, against a running service."""

import asyncio

import numpy as np
import pytest

QUERY = "replace the card of my account"
DOCUMENTS = [
    "The weather is lovely today.",
    "How do I change the bank card linked to my account?",
    "A recipe for tomato soup with basil.",
    "如何更换花呗绑定银行卡",
]
MODEL = "rerank-v3.5"


@pytest.fixture(scope="module")
def scores(reranker):
    return reranker.predict([(QUERY, document) for document in DOCUMENTS], activation_fn="sigmoid")


@pytest.fixture(scope="module")
def order(scores):
    return np.argsort(-scores, kind="stable").tolist()


def check(results, scores, order):
    """Pairs of an index and a score, compared bit for bit after converting double precision back."""
    indices, found = zip(*results, strict=True)
    assert list(indices) == order[: len(indices)]
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), scores[list(indices)])


class TestCohere:
    @pytest.fixture
    def cohere(self):
        return pytest.importorskip("cohere", reason="cohere is not installed")

    def test_version_1(self, cohere, three, scores, order):
        client = cohere.Client("none", base_url=three.url)
        answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, top_n=3, return_documents=True)
        check([(each.index, each.relevance_score) for each in answer.results], scores, order)
        assert [each.document.text for each in answer.results] == [DOCUMENTS[at] for at in order[:3]]
        assert answer.meta.api_version.version == "1"
        objects = [{"text": text} for text in DOCUMENTS]
        answer = client.rerank(model=MODEL, query=QUERY, documents=objects, max_chunks_per_doc=10)
        check([(each.index, each.relevance_score) for each in answer.results], scores, order)

    def test_version_2(self, cohere, three, scores, order, reranker):
        client = cohere.ClientV2("none", base_url=three.url)
        ask = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
        answer = client.rerank(**ask, max_tokens_per_doc=4096, priority=1)
        check([(each.index, each.relevance_score) for each in answer.results], scores, order)
        tokens = sum(map(len, reranker.tokenize([(QUERY, document) for document in DOCUMENTS]).ids))
        assert answer.meta.tokens.input_tokens == tokens
        assert answer.meta.warnings is None
        assert len(client.rerank(**ask, top_n=1).results) == 1

    def test_asynchronously(self, cohere, three, scores, order):
        async def main():
            async with cohere.AsyncClientV2("none", base_url=three.url) as client:
                ask = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
                return await asyncio.gather(*(client.rerank(**ask) for _ in range(20)))

        for answer in asyncio.run(main()):
            check([(each.index, each.relevance_score) for each in answer.results], scores, order)

    def test_errors_are_the_clients_exceptions(self, cohere, three):
        client = cohere.ClientV2("none", base_url=three.url)
        for kind, changed, named in (
            (cohere.NotFoundError, {"model": "rerank-v9"}, "does not exist"),
            (cohere.BadRequestError, {"model": "tiny"}, "not a reranker"),
            (cohere.BadRequestError, {"documents": []}, "documents"),
            (cohere.BadRequestError, {"documents": ["a"] * 101}, "at most 100"),
            (cohere.BadRequestError, {"max_tokens_per_doc": 10}, "max_tokens_per_doc"),
        ):
            with pytest.raises(kind) as found:
                client.rerank(**{"model": MODEL, "query": QUERY, "documents": DOCUMENTS, **changed})
            assert named in found.value.body["message"]

    def test_a_wrong_key_is_an_unauthorized_error(self, cohere, start, reranker_bundle):
        import hashlib

        from m3e_serve.settings import ModelSource

        guarded = start(
            models=(ModelSource("reranker", reranker_bundle),),
            key_digests=(hashlib.sha256(b"secret").digest(),),
        )
        ask = {"model": "reranker", "query": "a", "documents": ["b"]}
        assert cohere.ClientV2("secret", base_url=guarded.url).rerank(**ask).results
        with pytest.raises(cohere.UnauthorizedError):
            cohere.ClientV2("another", base_url=guarded.url).rerank(**ask)
        guarded.stop()


def test_langchain_cohere(three, scores, order):
    module = pytest.importorskip("langchain_cohere", reason="langchain-cohere is not installed")
    from langchain_core.documents import Document

    compressor = module.CohereRerank(model=MODEL, base_url=three.url, cohere_api_key="none", top_n=2)
    documents = [Document(page_content=text, metadata={"at": at}) for at, text in enumerate(DOCUMENTS)]
    found = compressor.compress_documents(documents, QUERY)
    check([(each.metadata["at"], each.metadata["relevance_score"]) for each in found], scores, order)


@pytest.mark.parametrize("model", ["cohere/rerank-v3.5", "jina_ai/rerank-v3.5", "huggingface/any"])
def test_litellm(three, scores, order, model):
    """Cohere's interface, Jina's, and that of text-embeddings-inference."""
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    answer = litellm.rerank(
        model=model, query=QUERY, documents=DOCUMENTS, api_base=three.url, api_key="none", top_n=4
    )
    check([(each["index"], each["relevance_score"]) for each in answer.results], scores, order)


@pytest.fixture
def nodes():
    pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
    from llama_index.core.schema import NodeWithScore, TextNode

    return [
        NodeWithScore(node=TextNode(text=text, id_=str(at)), score=0.0) for at, text in enumerate(DOCUMENTS)
    ]


def test_llama_index_tei(three, scores, order, nodes):
    module = pytest.importorskip(
        "llama_index.postprocessor.tei_rerank", reason="llama-index-postprocessor-tei-rerank is not installed"
    )
    found = module.TextEmbeddingInference(base_url=three.url, top_n=3).postprocess_nodes(
        nodes, query_str=QUERY
    )
    check([(int(each.node.node_id), each.score) for each in found], scores, order)


def test_llama_index_jina(three, scores, order, nodes):
    module = pytest.importorskip(
        "llama_index.postprocessor.jinaai_rerank",
        reason="llama-index-postprocessor-jinaai-rerank is not installed",
    )
    ranker = module.JinaRerank(base_url=f"{three.url}/v1", api_key="none", model=MODEL, top_n=3)
    found = ranker.postprocess_nodes(nodes, query_str=QUERY)
    check([(int(each.node.node_id), each.score) for each in found], scores, order)


def test_haystack_tei(three, scores, order):
    module = pytest.importorskip(
        "haystack_integrations.components.rankers.huggingface_api",
        reason="huggingface-api-haystack is not installed",
    )
    from haystack import Document

    documents = [Document(content=text, meta={"at": at}) for at, text in enumerate(DOCUMENTS)]
    found = module.HuggingFaceTEIRanker(url=three.url, top_k=3, token=None).run(
        query=QUERY, documents=documents
    )
    check([(each.meta["at"], each.score) for each in found["documents"]], scores, order)


def test_requests_as_the_documentation_of_jina_shows_them(three, scores, order):
    import httpx

    body = {"model": MODEL, "query": QUERY, "top_n": 3, "documents": DOCUMENTS, "return_documents": True}
    headers = {"Authorization": "Bearer none", "Content-Type": "application/json"}
    answer = httpx.post(f"{three.url}/v1/rerank", json=body, headers=headers).json()
    check([(each["index"], each["relevance_score"]) for each in answer["results"]], scores, order)
    assert [each["document"] for each in answer["results"]] == [{"text": DOCUMENTS[at]} for at in order[:3]]
    assert answer["usage"]["total_tokens"] > 0
