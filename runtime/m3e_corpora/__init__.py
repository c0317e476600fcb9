"""Encoding of corpora: any number of files of any size, on one machine or many.

``encode_corpus(CorpusRequest(...))`` does what ``m3e-encode`` does. Packages that the runtime does not need
(pyarrow, faiss, ray, pyspark) are imported only by requests that need them.

The rooms import only downwards: ``run``, ``executors``, ``encoding``, ``job``, ``outputs``, ``inputs``.
"""

from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.job.summary import Summary
from m3e_corpora.run import encode_corpus

__all__ = ["CorpusRequest", "Summary", "encode_corpus"]
