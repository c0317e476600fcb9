"""Encoding corpora: files of any size and number, on one machine or many.

``encode_corpus(CorpusRequest(...))`` is ``m3e-encode``. Packages beyond those of the runtime (pyarrow, faiss,
ray, pyspark) are imported where a request needs them.
"""

from m3e_corpora.corpus import Summary, encode_corpus
from m3e_corpora.request import CorpusRequest

__all__ = ["CorpusRequest", "Summary", "encode_corpus"]
