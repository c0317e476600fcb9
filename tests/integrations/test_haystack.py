import asyncio
import inspect

import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from m3e_runtime import BundleError, OptionError, Reranker
from m3e_runtime.integrations.haystack import M3EDocumentEmbedder, M3ERanker, M3ETextEmbedder

MODULE = "m3e_runtime.integrations.haystack"


def test_vectors_are_the_encoders(bundle, encoder, documents, query, same):
    same(M3ETextEmbedder(bundle).run(text=query)["embedding"], encoder.encode([query])[0])
    given = [Document(content=text) for text in documents]
    found = M3EDocumentEmbedder(bundle, truncate_dim=50).run(documents=given)["documents"]
    same([document.embedding for document in found], encoder.encode(documents, truncate_dim=50))
    assert [document.id for document in found] == [document.id for document in given]
    assert all(document.embedding is None for document in given)
    assert M3EDocumentEmbedder(bundle).run(documents=[])["documents"] == []


def test_prompts(prompted, encoder, query, same):
    same(M3ETextEmbedder(prompted).run(text=query)["embedding"], encoder.encode(["question: " + query])[0])
    embedder = M3EDocumentEmbedder(prompted, normalize_embeddings=True)
    found = embedder.run(documents=[Document(content=query)])["documents"][0]
    same(found.embedding, encoder.encode(["passage: " + query], normalize_embeddings=True)[0])


def test_meta_fields(bundle, encoder, same):
    embedder = M3EDocumentEmbedder(
        bundle, meta_fields_to_embed=["title", "year", "missing"], embedding_separator=" | "
    )
    given = [
        Document(content="content", meta={"title": "Title", "year": 2023, "other": "x"}),
        Document(content=None, meta={"title": None, "year": 2024}),
    ]
    found = embedder.run(documents=given)["documents"]
    same([each.embedding for each in found], encoder.encode(["Title | 2023 | content", "2024 | "]))


def indexing(bundle, store) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", M3EDocumentEmbedder(bundle, threads=1, device="cpu"))
    pipeline.add_component("writer", DocumentWriter(document_store=store))
    pipeline.connect("embedder", "writer")
    return pipeline


def searching(bundle, store) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", M3ETextEmbedder(bundle, threads=1, device="cpu"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(document_store=store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def test_pipelines(bundle, documents, query):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    pipeline = indexing(bundle, store)
    pipeline.run({"embedder": {"documents": [Document(content=text) for text in documents]}})
    search = searching(bundle, store)
    found = search.run({"embedder": {"text": query}})
    assert found["retriever"]["documents"][0].content == documents[0]
    if hasattr(search, "run_async"):
        found = asyncio.run(search.run_async({"embedder": {"text": query}}))
        assert found["retriever"]["documents"][0].content == documents[0]


def test_a_stored_pipeline(bundle):
    store = InMemoryDocumentStore()
    for pipeline in (indexing(bundle, store), searching(bundle, store)):
        text = pipeline.dumps()
        assert str(bundle) in text
        assert len(text) < 5000
        assert loaded(text).dumps() == text


def loaded(text: str) -> Pipeline:
    """Since 3, Haystack makes objects only of modules that the caller trusts."""
    if "allowed_modules" not in inspect.signature(Pipeline.loads).parameters:
        return Pipeline.loads(text)
    return Pipeline.loads(text, allowed_modules=[MODULE])


@pytest.mark.parametrize("embedder", [M3ETextEmbedder, M3EDocumentEmbedder])
def test_configuration(embedder, bundle):
    made = embedder(bundle, threads=2, normalize_embeddings=True, query_prompt="q: ")
    assert embedder.from_dict(made.to_dict()).to_dict() == made.to_dict()
    assert made.to_dict()["init_parameters"]["bundle"] == str(bundle)


@pytest.mark.parametrize("embedder", [M3ETextEmbedder, M3EDocumentEmbedder])
def test_loaded_by_warm_up(embedder):
    made = embedder("nowhere")
    with pytest.raises(BundleError, match="no such folder"):
        made.warm_up()


def test_mistakes(bundle):
    with pytest.raises(TypeError, match="thread_count"):
        M3ETextEmbedder(bundle, thread_count=1)
    with pytest.raises(TypeError, match="M3EDocumentEmbedder"):
        M3ETextEmbedder(bundle).run(text=["a"])
    with pytest.raises(TypeError, match="M3ETextEmbedder"):
        M3EDocumentEmbedder(bundle).run(documents="a")


def test_ranked_documents(scoring_bundles, documents, query):
    ranker = M3ERanker(scoring_bundles[1], top_k=3)
    given = [Document(content=text) for text in documents]
    found = ranker.run(query=query, documents=given)["documents"]
    expected = Reranker.load(scoring_bundles[1]).rank(query, documents)
    assert [(each.content, each.score) for each in found] == [
        (documents[each["corpus_id"]], each["score"]) for each in expected[:3]
    ]
    assert all(each.score is None for each in given)
    assert len(ranker.run(query=query, documents=given, top_k=1)["documents"]) == 1
    least = expected[1]["score"]
    assert len(ranker.run(query=query, documents=given, score_threshold=least)["documents"]) == 2
    assert ranker.run(query=query, documents=[])["documents"] == []


def test_meta_fields_of_ranked_documents(scoring_bundles, query):
    ranker = M3ERanker(scoring_bundles[1], meta_fields_to_embed=["title"], embedding_separator=" | ")
    found = ranker.run(query=query, documents=[Document(content="content", meta={"title": "Title"})])
    expected = Reranker.load(scoring_bundles[1]).predict((query, "Title | content"))
    assert found["documents"][0].score == float(expected)


def test_a_pipeline_with_a_ranker(scoring_bundles, documents, query):
    pipeline = Pipeline()
    pipeline.add_component("ranker", M3ERanker(scoring_bundles[1], top_k=2, threads=1, score_threshold=0.0))
    text = pipeline.dumps()
    again = loaded(text)
    assert again.dumps() == text
    given = {"ranker": {"query": query, "documents": [Document(content=each) for each in documents]}}
    assert again.run(given) == pipeline.run(given)


def test_mistakes_with_a_ranker(scoring_bundles):
    with pytest.raises(TypeError, match="list of Document"):
        M3ERanker(scoring_bundles[1]).run(query="a", documents=["b"])
    with pytest.raises(OptionError, match="one label"):
        M3ERanker(scoring_bundles[3]).warm_up()
    with pytest.raises(OptionError, match="top_k"):
        M3ERanker(scoring_bundles[1], top_k=0)
