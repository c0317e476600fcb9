"""Encode texts and compare them: ``python examples/encode.py BUNDLE``."""

import sys

from m3e_runtime import Encoder

TEXTS = ["如何更换花呗绑定银行卡", "花呗更改绑定银行卡", "今天天气很好"]

encoder = Encoder.load(sys.argv[1])
vectors = encoder.encode(TEXTS, normalize_embeddings=True)
print(f"{encoder.artifact.name}: {vectors.shape[0]} texts, {vectors.shape[1]} dimensions")
for text, row in zip(TEXTS, encoder.similarity(vectors, vectors), strict=True):
    print(" ".join(f"{score:6.3f}" for score in row), text)
