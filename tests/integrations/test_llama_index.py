import asyncio
import pickle

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from pydantic import ValidationError

from m3e_runtime import BundleError
from m3e_runtime.integrations.llama_index import M3EEmbedding


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
