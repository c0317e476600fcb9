"""Code for sentence-transformers, with one import changed.

``python examples/sentence_transformers_import.py BUNDLE``
"""

import sys

# from sentence_transformers import SentenceTransformer
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1])
vectors = model.encode(["How do I change my card?", "I want to update my payment card", "It is sunny"])
print(model.similarity(vectors[:1], vectors[1:]))
