"""Encode a file to Parquet and read it back.

``python examples/corpus_to_parquet.py BUNDLE IN.jsonl OUT.parquet``

Objects of IN.jsonl have ``id`` and ``text``. Needs the extra ``parquet``.
"""

import sys

import pyarrow.parquet as pq

from m3e_corpora import CorpusRequest, encode_corpus

bundle, source, target = sys.argv[1:]
encode_corpus(
    CorpusRequest(bundle, (source,), target, keep=("id",), precision="float16", show_progress=False)
)
table = pq.read_table(target)
print(f"{table.num_rows} rows of {', '.join(table.column_names)}")
