import asyncio
import pickle
import sys

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from m3e_runtime import BundleError, InvalidTextError, Reranker
from m3e_runtime.integrations import sentence_transformers as m3e_sentence_transformers
from m3e_runtime.integrations.langchain import M3ECrossEncoder, M3EEmbeddings, M3EReranker


def test_vectors_are_the_encoders(bundle, encoder, documents, query, same):
    embeddings = M3EEmbeddings(bundle=bundle)
    assert isinstance(embeddings, Embeddings)
    same(embeddings.embed_documents(documents), encoder.encode(documents))
    same(embeddings.embed_query(query), encoder.encode([query])[0])
    assert embeddings.embed_documents([]) == []
    assert type(embeddings.embed_query(query)[0]) is float


def test_asynchronously(bundle, encoder, documents, query, same):
    embeddings = M3EEmbeddings(bundle=bundle, normalize_embeddings=True)

    async def both():
        return await asyncio.gather(embeddings.aembed_documents(documents), embeddings.aembed_query(query))

    vectors, vector = asyncio.run(both())
    same(vectors, encoder.encode(documents, normalize_embeddings=True))
    same(vector, encoder.encode([query], normalize_embeddings=True)[0])


def test_prompts(prompted, encoder, query, same):
    embeddings = M3EEmbeddings(bundle=prompted, query_prompt_name="topic")
    same(embeddings.embed_query(query), encoder.encode(["topic: " + query])[0])
    same(embeddings.embed_documents([query]), encoder.encode(["passage: " + query]))


def test_vector_store(bundle, documents, query, tmp_path):
    embeddings = M3EEmbeddings(bundle=bundle, threads=1)
    store = InMemoryVectorStore.from_texts(documents, embeddings)
    assert store.similarity_search(query, k=1)[0].page_content == documents[0]
    found = asyncio.run(store.asimilarity_search_with_score(query, k=2))
    assert found[0][0].page_content == documents[0]
    store.dump(str(tmp_path / "store.json"))
    again = InMemoryVectorStore.load(str(tmp_path / "store.json"), embeddings)
    assert again.as_retriever(search_kwargs={"k": 1}).invoke(query)[0].page_content == documents[0]


def test_a_string_is_no_list_of_documents(bundle):
    with pytest.raises(InvalidTextError, match="letter by letter"):
        M3EEmbeddings(bundle=bundle).embed_documents("a text")


def test_the_splitter_for_sentence_transformers_counts_tokens(bundle, encoder, monkeypatch):
    splitters = pytest.importorskip(
        "langchain_text_splitters", reason="langchain-text-splitters is not installed"
    )
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setitem(sys.modules, "sentence_transformers", m3e_sentence_transformers)
    splitter = splitters.SentenceTransformersTokenTextSplitter(model_name=str(bundle), chunk_overlap=0)
    chunks = splitter.split_text("word " * 600)
    assert splitter.count_tokens(text="word " * 600) == 602
    assert len(chunks) > 1
    assert all(len(encoder.tokenizer.encode(chunk)) <= encoder.max_seq_length for chunk in chunks)


def test_configuration(bundle, query):
    embeddings = M3EEmbeddings(bundle=bundle, device="cpu", threads=1, truncate_dim=64)
    again = M3EEmbeddings.model_validate_json(embeddings.model_dump_json())
    assert again.model_dump() == embeddings.model_dump()
    assert again.bundle == str(bundle)
    data = pickle.dumps(embeddings)
    assert len(data) < 5000
    assert pickle.loads(data).embed_query(query) == embeddings.embed_query(query)
    assert embeddings.model_copy(deep=True).embed_query(query) == embeddings.embed_query(query)


def test_mistakes_are_told_at_once(bundle):
    with pytest.raises(BundleError, match="no such folder"):
        M3EEmbeddings(bundle="nowhere")
    with pytest.raises(ValidationError, match="thread_count"):
        M3EEmbeddings(bundle=bundle, thread_count=1)
    with pytest.raises(ValidationError, match="frozen"):
        M3EEmbeddings(bundle=bundle).truncate_dim = 8


@pytest.fixture(scope="module")
def ranked(scoring_bundles, documents, query):
    """What the reranker itself gives."""
    return Reranker.load(scoring_bundles[1]).rank(query, documents)


def test_reranked_documents(scoring_bundles, documents, query, ranked):
    reranker = M3EReranker(bundle=scoring_bundles[1], top_n=2)
    assert isinstance(reranker, BaseDocumentCompressor)
    given = [Document(text, metadata={"place": place}) for place, text in enumerate(documents)]
    found = reranker.compress_documents(given, query)
    assert [each.metadata for each in found] == [
        {"place": each["corpus_id"], "relevance_score": each["score"]} for each in ranked[:2]
    ]
    assert all("relevance_score" not in each.metadata for each in given)
    assert asyncio.run(reranker.acompress_documents(given, query)) == found
    assert len(M3EReranker(bundle=scoring_bundles[1], top_n=None).compress_documents(given, query)) == 4
    assert reranker.compress_documents([], query) == []


def test_scored_pairs(scoring_bundles, documents, query, ranked):
    encoder = M3ECrossEncoder(bundle=scoring_bundles[1])
    assert isinstance(encoder, BaseCrossEncoder)
    scores = encoder.score([(query, text) for text in documents])
    assert scores == [each["score"] for each in sorted(ranked, key=lambda each: each["corpus_id"])]
    logits = M3ECrossEncoder(bundle=scoring_bundles[1], activation_fn="identity").score([(query, "a")])
    assert logits == Reranker.load(scoring_bundles[1]).logits([(query, "a")])[0].tolist()


@pytest.mark.parametrize("adapter", [M3EReranker, M3ECrossEncoder])
def test_configuration_of_rerankers(adapter, scoring_bundles, bundle):
    made = adapter(bundle=scoring_bundles[1], threads=1, prompt="q: ", activation_fn="identity")
    again = adapter.model_validate_json(made.model_dump_json())
    assert again.model_dump() == made.model_dump()
    data = pickle.dumps(made)
    assert len(data) < 5000
    assert pickle.loads(data).model_dump() == made.model_dump()
    with pytest.raises(BundleError, match="Encoder"):
        adapter(bundle=bundle)
    with pytest.raises(ValidationError, match="one label"):
        adapter(bundle=scoring_bundles[3])
    with pytest.raises(ValidationError, match="relu"):
        adapter(bundle=scoring_bundles[1], activation_fn="relu")
    with pytest.raises(ValidationError, match="thread_count"):
        adapter(bundle=scoring_bundles[1], thread_count=1)
