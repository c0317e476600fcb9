"""Spark in local mode: the bytes of one process, whatever dies."""

import functools
import os
import sys

import numpy as np
import psutil
import pytest

from corpus_files import files_of
from m3e_corpora import CorpusRequest, encode_corpus
from m3e_corpora.executors.spark import SparkExecutor, with_embeddings
from m3e_runtime import ChunkOptions
from m3e_runtime.errors import InvalidTextError, OptionError

sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed: pip install 'm3e-runtime[spark]'")

OPTIONS = {"keep": ("id",), "partition_bytes": 1500}
CHUNKS = {
    "keep": ("id",),
    "partition_bytes": 20_000,
    "over_long": "chunk",
    "chunking": ChunkOptions(tokens=16, overlap=4),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    environment = {
        "M3E_CACHE": str(tmp_path_factory.mktemp("cache")),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    builder = sql.SparkSession.builder.master("local[2, 4]")  # as on a cluster, a task may fail three times
    for name in ("spark.ui.enabled", "spark.ui.showConsoleProgress"):
        builder = builder.config(name, "false")
    try:
        made = builder.config("spark.log.level", "OFF").getOrCreate()
    except Exception as error:
        pytest.skip(f"Spark does not start, it needs Java: {str(error).splitlines()[0]}")
    yield made
    made.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def encode_on_spark(tiny_bundle, session):
    def call(source, output, bundle=tiny_bundle, bundle_everywhere=False, **options):
        request = CorpusRequest(bundle, (str(source),), str(output), **options)
        executor = functools.partial(SparkExecutor, session=session, bundle_everywhere=bundle_everywhere)
        return encode_corpus(request, executor)

    return call


@pytest.fixture
def expected(encode, source, tmp_path):
    encode(source, f"{tmp_path}/v/", **OPTIONS)
    return files_of(tmp_path / "v")


def test_two_tasks_at_a_time_give_the_bytes_of_one_process(encode_on_spark, source, out, expected):
    summary = encode_on_spark(source, f"{out}/v/", **OPTIONS)
    assert files_of(out / "v") == expected
    assert summary.texts == 900
    encode_on_spark(source, f"{out}/w/", bundle_everywhere=True, **OPTIONS)
    assert files_of(out / "w") == expected


def test_chunks_and_pairs_have_the_bytes_of_one_process(
    encode, encode_on_spark, source, pairs, scoring_bundles, out, tmp_path
):
    for name, given, options in (
        ("chunks", source, CHUNKS),
        ("late", source, {**CHUNKS, "chunking": ChunkOptions(tokens=16, overlap=4, late=True)}),
        ("pairs", pairs, {"bundle": scoring_bundles[1], "keep": ("id",), "partition_bytes": 6000}),
    ):
        expected = encode(given, f"{tmp_path}/{name}/", **options)
        summary = encode_on_spark(given, f"{out}/{name}/", **options)
        assert files_of(out / name) == files_of(tmp_path / name)
        assert (summary.texts, summary.divided) == (expected.texts, expected.divided)
        assert summary.partitions > 2


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost_or_doubled(
    encode_on_spark, source, out, expected, killing_one
):
    def workers():
        """Processes that the daemon of PySpark forked."""
        below = [
            process
            for process in psutil.Process().children(recursive=True)
            if "daemon" in process_line(process)
        ]
        return [process for process in below if "daemon" in process_line(process.parent())]

    def process_line(process):
        try:
            return " ".join(process.cmdline())
        except psutil.Error:
            return ""

    with killing_one(workers, 3):
        encode_on_spark(source, f"{out}/v/", **OPTIONS)
    assert files_of(out / "v") == expected


def test_what_spark_began_one_process_goes_on_with(encode, encode_on_spark, source, break_row, out):
    break_row()
    with pytest.raises(InvalidTextError, match=r"in\.jsonl, line 501: field 'text' is not a string"):
        encode_on_spark(source, f"{out}/v/", **OPTIONS)
    summary = encode(source, f"{out}/v/", resume=True, on_error="skip", **OPTIONS)
    assert 0 < summary.resumed < summary.partitions
    assert (summary.texts, summary.skipped) == (900, 1)


def test_an_option_that_cannot_be_is_told_before_anything_is_begun(encode_on_spark, source, out):
    with pytest.raises(OptionError, match="no-such-artifact"):
        encode_on_spark(source, f"{out}/v/", artifact="no-such-artifact")
    assert list(out.iterdir()) == []


def test_vectors_for_a_data_frame(session, tiny_bundle, encoder, corpus):
    rows = [(number, None if number == 7 else text) for number, text in enumerate(corpus)]
    frame = session.createDataFrame(rows, "id int, body string").repartition(3)
    for precision, numbers in (("float32", "float"), ("binary", "tinyint")):
        found = with_embeddings(frame, tiny_bundle, "body", "vector", precision=precision)
        assert found.schema["vector"].dataType.simpleString() == f"array<{numbers}>"
        table = sorted(found.collect(), key=lambda row: row.id)
        assert [row.body for row in table] == [text for _, text in rows]
        assert table[7].vector is None
        vectors = np.array([row.vector for row in table if row.id != 7])
        expected = encoder.encode([text for _, text in rows if text is not None], precision=precision)
        np.testing.assert_array_equal(vectors.astype(expected.dtype), expected)
    with pytest.raises(OptionError, match="float16"):
        with_embeddings(frame, tiny_bundle, "body", precision="float16")
    with pytest.raises(OptionError, match="gives a text several vectors, and a row has one"):
        with_embeddings(frame, tiny_bundle, "body", truncation="chunk")
