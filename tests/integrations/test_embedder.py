"""What the adapters share; needs no framework."""

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from m3e_runtime import BundleError, OptionError
from m3e_runtime.integrations.embedder import EmbedderOptions, TextEmbedder

ADAPTERS = ("chroma", "haystack", "langchain", "llama_index", "sentence_transformers")
FRAMEWORKS = (
    "chromadb",
    "haystack",
    "langchain_core",
    "llama_index",
    "pydantic",
    "sentence_transformers",
    "torch",
    "transformers",
)


def test_options_reach_the_encoder(bundle, encoder, documents, same):
    embedder = TextEmbedder(bundle, device="cpu", threads=1, truncate_dim=64, normalize_embeddings=True)
    expected = encoder.encode(documents, truncate_dim=64, normalize_embeddings=True)
    same(embedder.documents(documents), expected)
    assert embedder.encoder.info["threads"] == 1


def test_prompts_are_chosen_by_use(prompted, encoder, query, same):
    embedder = TextEmbedder(prompted)
    same(embedder.queries([query]), encoder.encode(["question: " + query]))
    same(embedder.documents([query]), encoder.encode(["passage: " + query]))


def test_prompts_can_be_named_given_or_turned_off(prompted, encoder, query, same):
    named = TextEmbedder(prompted, query_prompt_name="topic", document_prompt="")
    same(named.queries([query]), encoder.encode(["topic: " + query]))
    same(named.documents([query]), encoder.encode([query]))
    with pytest.raises(OptionError, match="passage, query, topic"):
        TextEmbedder(prompted, query_prompt_name="other").queries([query])


def test_config_is_plain_and_makes_an_equal_embedder(bundle):
    embedder = TextEmbedder(bundle, threads=2, artifact=None)
    config = json.loads(json.dumps(embedder.config))
    assert config["bundle"] == str(bundle)
    assert config.keys() == {"bundle", *EmbedderOptions.__annotations__}
    assert TextEmbedder(**config).config == embedder.config


def test_the_configuration_means_the_same_in_any_folder(bundle, monkeypatch, tmp_path):
    embedder = TextEmbedder(os.path.relpath(bundle), threads=np.int64(1), device=None)
    monkeypatch.chdir(tmp_path)
    config = json.loads(json.dumps(embedder.config))
    assert (config["bundle"], config["threads"], config["device"]) == (str(bundle), 1, "auto")
    assert TextEmbedder(**config).encoder.dimension == 384
    for wrong in ({"threads": "2"}, {"device": 0.5}, {"batch_size": True}, {"bundle": 5}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            TextEmbedder(**{"bundle": bundle, **wrong})


def test_loaded_late_and_shared_by_copies(bundle):
    embedder = TextEmbedder(bundle)
    assert copy.deepcopy(embedder).encoder is embedder.encoder
    assert copy.copy(embedder).encoder is embedder.encoder
    with pytest.raises(BundleError, match="no such folder"):
        _ = TextEmbedder("nowhere").encoder


def test_pickle_holds_no_weights(bundle, documents, same):
    embedder = TextEmbedder(bundle, truncate_dim=32)
    vectors = embedder.documents(documents)
    data = pickle.dumps(embedder)
    assert len(data) < 2000
    same(pickle.loads(data).documents(documents), vectors)


def test_unknown_option():
    with pytest.raises(TypeError, match="thread_count"):
        TextEmbedder("bundle", thread_count=1)


@pytest.mark.parametrize("adapter", [None, "embedder", "sentence_transformers"])
def test_no_framework_is_imported(adapter):
    module = "m3e_runtime.integrations" + (f".{adapter}" if adapter else "")
    code = f"import sys, {module}; print([name for name in {FRAMEWORKS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_only_the_own_framework_is_imported(adapter):
    """torch comes with none of them, and is not to come from us."""
    own = {"chroma": "chromadb", "langchain": "langchain_core"}.get(adapter, adapter)
    pytest.importorskip(own)
    code = f"import sys, {own}; before = 'torch' in sys.modules; import m3e_runtime.integrations.{adapter}; "
    code += "print(before == ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
