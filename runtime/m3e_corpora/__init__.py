"""Encoding corpora: files of any size and number, on one machine or many.

``encode_corpus(CorpusRequest(...))`` is ``m3e-encode``. Packages beyond those of the runtime (pyarrow, faiss,
ray, pyspark) are imported where a request needs them.
"""

from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.run import Summary, encode_corpus

__all__ = ["CorpusRequest", "Summary", "encode_corpus"]
