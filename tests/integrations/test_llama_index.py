import asyncio
import pickle

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import ValidationError

from m3e_runtime import BundleError, Reranker
from m3e_runtime.integrations.llama_index import M3EEmbedding, M3ERerank


def test_vectors_are_the_encoders(bundle, encoder, documents, query, same):
    embedding = M3EEmbedding(bundle=bundle)
    assert isinstance(embedding, BaseEmbedding)
    same(embedding.get_query_embedding(query), encoder.encode([query])[0])
    same(embedding.get_text_embedding(query), encoder.encode([query])[0])
    same(embedding.get_text_embedding_batch(documents), encoder.encode(documents))


def test_asynchronously(bundle, encoder, documents, query, same):
    embedding = M3EEmbedding(bundle=bundle, normalize_embeddings=True, truncate_dim=100)
    expected = encoder.encode([*documents, query], normalize_embeddings=True, truncate_dim=100)

    async def all_three():
        return await asyncio.gather(
            embedding.aget_text_embedding_batch(documents),
            embedding.aget_query_embedding(query),
            embedding.aget_text_embedding(query),
        )

    vectors, asked, text = asyncio.run(all_three())
    same(vectors, expected[:-1])
    same(asked, expected[-1])
    same(text, expected[-1])


def test_prompts(prompted, encoder, query, same):
    embedding = M3EEmbedding(bundle=prompted, document_prompt_name="topic")
    same(embedding.get_query_embedding(query), encoder.encode(["question: " + query])[0])
    same(embedding.get_text_embedding(query), encoder.encode(["topic: " + query])[0])


def test_index(bundle, documents, query):
    nodes = [TextNode(text=text) for text in documents]
    index = VectorStoreIndex(nodes, embed_model=M3EEmbedding(bundle=bundle, threads=1))
    retriever = index.as_retriever(similarity_top_k=2)
    assert retriever.retrieve(query)[0].text == documents[0]
    assert asyncio.run(retriever.aretrieve(query))[0].text == documents[0]


def test_ingestion(bundle, encoder, documents, same):
    pipeline = IngestionPipeline(transformations=[M3EEmbedding(bundle=bundle)])
    nodes = pipeline.run(nodes=[TextNode(text=text) for text in documents])
    same([node.embedding for node in nodes], encoder.encode(documents))


def test_configuration(bundle, encoder, query):
    embedding = M3EEmbedding(bundle=bundle, device="cpu", threads=1, truncate_dim=64)
    again = M3EEmbedding.from_json(embedding.to_json())
    assert again.to_dict() == embedding.to_dict()
    assert again.bundle == str(bundle)
    assert again.model_name == encoder.info["source"]
    assert embedding.to_dict()["class_name"] == "M3EEmbedding"
    data = pickle.dumps(embedding)
    assert len(data) < 5000
    assert pickle.loads(data).get_query_embedding(query) == embedding.get_query_embedding(query)
    copied = embedding.model_copy(deep=True)
    assert copied.get_query_embedding(query) == embedding.get_query_embedding(query)


def test_mistakes_are_told_at_once(bundle):
    with pytest.raises(BundleError, match="no such folder"):
        M3EEmbedding(bundle="nowhere")
    with pytest.raises(ValidationError, match="thread_count"):
        M3EEmbedding(bundle=bundle, thread_count=1)
    with pytest.raises(ValidationError, match="frozen"):
        M3EEmbedding(bundle=bundle).truncate_dim = 8


def test_reranked_nodes(scoring_bundles, documents, query):
    reranker = M3ERerank(bundle=scoring_bundles[1], top_n=2, keep_retrieval_score=True)
    assert isinstance(reranker, BaseNodePostprocessor)
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in documents]
    found = reranker.postprocess_nodes(nodes, query_str=query)
    expected = Reranker.load(scoring_bundles[1]).rank(query, documents, top_k=2)
    assert [(each.text, each.score) for each in found] == [
        (documents[each["corpus_id"]], each["score"]) for each in expected
    ]
    assert [each.metadata for each in found] == [{"retrieval_score": 0.5}] * 2
    assert all(each.score == 0.5 and not each.metadata for each in nodes)
    again = asyncio.run(reranker.apostprocess_nodes(nodes, query_str=query))
    assert [each.score for each in again] == [each.score for each in found]
    assert reranker.postprocess_nodes([], query_str=query) == []
    with pytest.raises(ValueError, match="a query is needed"):
        reranker.postprocess_nodes(nodes)


def test_retrieved_nodes_are_reranked(bundle, scoring_bundles, documents, query):
    index = VectorStoreIndex(
        [TextNode(text=text) for text in documents], embed_model=M3EEmbedding(bundle=bundle, threads=1)
    )
    reranker = M3ERerank(bundle=scoring_bundles[1], top_n=3)
    found = reranker.postprocess_nodes(
        index.as_retriever(similarity_top_k=4).retrieve(query), query_str=query
    )
    assert len(found) == 3
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_configuration_of_a_reranker(scoring_bundles):
    reranker = M3ERerank(bundle=scoring_bundles[1], device="cpu", threads=1, top_n=5)
    again = M3ERerank.from_json(reranker.to_json())
    assert again.to_dict() == reranker.to_dict()
    assert reranker.to_dict()["class_name"] == "M3ERerank"
    data = pickle.dumps(reranker)
    assert len(data) < 5000
    assert pickle.loads(data).to_dict() == reranker.to_dict()
    with pytest.raises(ValidationError, match="top_n"):
        M3ERerank(bundle=scoring_bundles[1], top_n=0)
