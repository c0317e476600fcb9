"""A bundle is also a folder that other ONNX backends load.

Runs in an environment of its own (extra ``optimum``), because optimum-onnx needs an older transformers than
the rest of the tests. ``M3E_BUNDLE`` names a bundle of the real MiniLM exported there or elsewhere.
"""

import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.interop
pytest.importorskip("optimum.onnxruntime", reason="needs the extra `optimum` in an environment of its own")

TEXTS = ["How do I change my card?", "如何更换花呗绑定银行卡", "short", "a much longer sentence " * 20, ""]


@pytest.fixture(scope="module")
def bundle() -> Path:
    folder = os.environ.get("M3E_BUNDLE")
    if not folder:
        pytest.skip("M3E_BUNDLE does not name a bundle")
    return Path(folder)


@pytest.fixture(scope="module")
def ours(bundle):
    from m3e_runtime import Encoder

    return Encoder.load(bundle, artifact="fp32-cpu").encode(TEXTS)


def test_sentence_transformers_onnx_backend_gives_our_vectors(bundle, ours):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(bundle),
        backend="onnx",
        model_kwargs={"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"},
    )
    np.testing.assert_allclose(model.encode(TEXTS), ours, atol=1e-5)


def test_optimum_gives_last_hidden_state_and_sentence_embedding(bundle, ours):
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundle)
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="np")
    model = ORTModelForFeatureExtraction.from_pretrained(bundle, file_name="model.onnx", subfolder="onnx")
    hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None].astype(np.float32)
    vectors = (hidden * mask).sum(1) / mask.sum(1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, ours, atol=1e-5)
