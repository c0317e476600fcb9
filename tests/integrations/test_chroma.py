import json
import shutil

import pytest

pytest.importorskip("chromadb", reason="chromadb is not installed")

import chromadb
import numpy as np
from chromadb.utils.embedding_functions import config_to_embedding_function, known_embedding_functions

from m3e_runtime import BundleError
from m3e_runtime.integrations.chroma import M3EEmbeddingFunction


def test_vectors_are_the_encoders(bundle, encoder, documents, query, same):
    function = M3EEmbeddingFunction(bundle)
    same(function(documents), encoder.encode(documents))
    same(function.embed_query([query]), encoder.encode([query]))


def test_options_and_prompts(prompted, encoder, query, same):
    function = M3EEmbeddingFunction(prompted, threads=1, device="cpu", normalize_embeddings=True)
    same(function([query]), encoder.encode(["passage: " + query], normalize_embeddings=True))
    same(function.embed_query([query]), encoder.encode(["question: " + query], normalize_embeddings=True))


@pytest.fixture
def client():
    settings = chromadb.Settings(anonymized_telemetry=False)
    return chromadb.EphemeralClient(settings)


def test_collection(client, prompted, encoder, documents, query):
    collection = client.create_collection("faq", embedding_function=M3EEmbeddingFunction(prompted))
    ids = [str(number) for number in range(len(documents))]
    collection.add(ids=ids, documents=documents)
    stored = collection.get(ids=ids, include=["embeddings"])["embeddings"]
    expected = encoder.encode(["passage: " + text for text in documents])
    np.testing.assert_allclose(stored, expected, atol=1e-6)  # Chroma scales them to unit length
    assert collection.query(query_texts=[query], n_results=1)["ids"] == [["0"]]
    assert collection.configuration["hnsw"]["space"] == "cosine"
    client.delete_collection("faq")


def test_a_stored_collection_makes_the_function_again(bundle, documents, query, tmp_path):
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path), settings)
    function = M3EEmbeddingFunction(bundle, threads=1, truncate_dim=128)
    collection = client.create_collection("faq", embedding_function=function)
    collection.add(ids=["a", "b"], documents=documents[:2])
    again = client.get_collection("faq")  # without the function
    assert again.query(query_texts=[query], n_results=1)["ids"] == [["a"]]
    stored = again.configuration["embedding_function"]
    assert isinstance(stored, M3EEmbeddingFunction)
    assert stored.get_config() == function.get_config()


def other_weights(bundle, folder):
    """A bundle of equal dimension whose vectors mean something else."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["source"] |= {"weights_sha256": "0" * 64, "id": "another"}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_stored_collection_refuses_other_weights(bundle, documents, query, tmp_path, monkeypatch):
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(tmp_path / "database"), settings)
    moving = shutil.copytree(bundle, tmp_path / "moving")
    monkeypatch.chdir(tmp_path)
    collection = client.create_collection("faq", embedding_function=M3EEmbeddingFunction("moving"))
    collection.add(ids=["a", "b"], documents=documents[:2])
    monkeypatch.chdir(bundle)  # the path was relative to another folder
    assert client.get_collection("faq").query(query_texts=[query], n_results=1)["ids"] == [["a"]]
    shutil.rmtree(moving)
    other_weights(bundle, moving)
    with pytest.raises(BundleError, match=r"other weights \(another\)"):
        client.get_collection("faq").query(query_texts=[query], n_results=1)


def test_collections_that_stored_no_weights_open(bundle, query, encoder, same):
    config = M3EEmbeddingFunction(bundle).get_config()
    del config["weights_sha256"]
    same(M3EEmbeddingFunction.build_from_config(config).embed_query([query]), encoder.encode([query]))


def test_configuration(bundle):
    assert known_embedding_functions["m3e"] is M3EEmbeddingFunction
    function = M3EEmbeddingFunction(bundle, device="cpu", threads=2)
    assert not function.is_legacy()
    config = json.loads(json.dumps(function.get_config()))
    assert config["bundle"] == str(bundle)
    again = config_to_embedding_function({"name": "m3e", "config": config})
    assert isinstance(again, M3EEmbeddingFunction)
    assert again.get_config() == function.get_config()
    M3EEmbeddingFunction.validate_config(config)
    with pytest.raises(TypeError, match="thread_count"):
        M3EEmbeddingFunction.validate_config({**config, "thread_count": 1})


def test_configuration_update(bundle):
    function = M3EEmbeddingFunction(bundle)
    config = function.get_config()
    function.validate_config_update(config, {**config, "bundle": "moved", "device": "cuda"})
    older = {name: value for name, value in config.items() if name != "weights_sha256"}
    function.validate_config_update(older, config)
    with pytest.raises(ValueError, match="weights_sha256: cannot be changed"):
        function.validate_config_update(config, {**config, "weights_sha256": "0" * 64})
    with pytest.raises(ValueError, match="truncate_dim: cannot be changed"):
        function.validate_config_update(config, {**config, "truncate_dim": 64})


def test_mistakes(bundle):
    with pytest.raises(TypeError, match="thread_count"):
        M3EEmbeddingFunction(bundle, thread_count=1)
    with pytest.raises(BundleError, match="no such folder"):
        M3EEmbeddingFunction("nowhere")(["a text"])
