"""Sparse vectors and multi-vectors stored beside the dense vectors."""

import json

import numpy as np
import pytest

from corpus_files import write_json_lines
from m3e_corpora.encoding import partitions
from m3e_corpora.outputs.sinks import parquet as parquet_sink
from m3e_runtime import Encoder, OptionError

TEXTS = [
    "hello hello world",
    "",
    "今天天气很好",
    "hello hello world",
    *(f"word {n} " * n for n in range(1, 40)),
]
BOTH = ("sparse", "multi_vector")


@pytest.fixture(scope="module")
def expected(bge_m3_bundle):
    return Encoder.load(bge_m3_bundle).encode_outputs(TEXTS)


@pytest.fixture
def rows_file(tmp_path):
    return write_json_lines(tmp_path / "in.jsonl", ({"id": n, "text": text} for n, text in enumerate(TEXTS)))


def test_parquet_has_a_map_and_a_list_of_vectors(
    encode, rows_file, tmp_path, bge_m3_bundle, expected, monkeypatch
):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(partitions, "MULTI_VECTOR_WINDOW_TOKENS", 100)
    monkeypatch.setattr(parquet_sink, "BYTES_PER_GROUP", 10_000)
    file = tmp_path / "out.parquet"
    encode(rows_file, file, bundle=bge_m3_bundle, also=BOTH, keep=("id",), partition_bytes=500)
    table = parquet.read_table(file)
    assert table.schema.field("sparse").type == pa.map_(pa.int32(), pa.float32())
    assert table.schema.field("multi_vector").type == pa.list_(pa.list_(pa.float32()))
    assert parquet.ParquetFile(file).num_row_groups > 1
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == list(range(len(TEXTS)))
    for row, each in zip(rows, expected, strict=True):
        assert np.array(row["embedding"], np.float32).tobytes() == each.dense.tobytes()
        assert dict(row["sparse"]) == each.sparse.as_dict()
        assert np.array(row["multi_vector"], np.float32).tobytes() == each.multi_vector.tobytes()


def test_json_lines_have_an_object_and_lists(encode, rows_file, tmp_path, bge_m3_bundle, expected):
    file = tmp_path / "out.jsonl"
    encode(rows_file, file, bundle=bge_m3_bundle, also=("multi_vector", "sparse"))
    for line, each in zip(file.read_text("utf-8").splitlines(), expected, strict=True):
        row = json.loads(line)
        assert list(row) == ["id", "text", "embedding", "sparse", "multi_vector"]
        assert {int(key): value for key, value in row["sparse"].items()} == each.sparse.as_dict()
        assert np.array(row["multi_vector"], np.float32).tobytes() == each.multi_vector.tobytes()


def test_rows_that_are_left_out_move_no_other_row(encode, tmp_path, bge_m3_bundle, expected):
    some = ["long " * 400, *TEXTS[:3]]
    source = write_json_lines(tmp_path / "in.jsonl", ({"text": text} for text in some))
    file = tmp_path / "out.jsonl"
    encode(source, file, bundle=bge_m3_bundle, also=("sparse",), over_long="skip")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [{int(key): value for key, value in row["sparse"].items()} for row in rows] == [
        each.sparse.as_dict() for each in list(expected)[:3]
    ]


def test_chunks_have_outputs_of_their_own(encode, tmp_path, bge_m3_bundle):
    source = write_json_lines(tmp_path / "in.jsonl", [{"text": "One sentence. " * 100}])
    file = tmp_path / "out.jsonl"
    encode(source, file, bundle=bge_m3_bundle, also=("sparse",), over_long="chunk")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(rows) > 1
    encoder = Encoder.load(bge_m3_bundle)
    for row in rows:
        chunk = ("One sentence. " * 100)[row["start"] : row["end"]]
        found = encoder.encode_outputs(chunk, ["sparse"]).sparse.as_dict()
        assert {int(key): value for key, value in row["sparse"].items()} == found


def test_what_cannot_be_stored_is_refused(encode, rows_file, tmp_path, bge_m3_bundle, tiny_bundle):
    for output, options, message in (
        ("v.npy", {"also": ("sparse",)}, "cannot store sparse"),
        ("v.jsonl", {"also": ("lexical",)}, "known are sparse, multi_vector"),
        ("v.jsonl", {"also": ("sparse",), "bundle": tiny_bundle}, "gives no sparse output"),
        ("v.parquet", {"also": ("sparse",), "keep": ("sparse",)}, "column 'sparse' cannot be kept"),
    ):
        with pytest.raises(OptionError, match=message):
            encode(rows_file, tmp_path / output, **{"bundle": bge_m3_bundle, **options})


def test_a_model_without_vectors_of_texts_stores_its_other_outputs(
    encode, rows_file, tmp_path, colbert_bundle
):
    parquet = pytest.importorskip("pyarrow.parquet")
    encoder = Encoder.load(colbert_bundle)
    for task, name in ((None, "document"), ("query", "query")):
        expected = encoder.encode_outputs(TEXTS, ["multi_vector"], task=name).multi_vector
        for suffix in ("parquet", "jsonl"):
            file = tmp_path / f"{name}.{suffix}"
            summary = encode(rows_file, file, bundle=colbert_bundle, task=task, keep=("id",))
            assert summary.dimension is None
            if suffix == "parquet":
                rows = parquet.read_table(file).to_pylist()
            else:
                rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            assert list(rows[0])[-1] == "multi_vector"
            assert "embedding" not in rows[0]
            for row, each in zip(rows, expected, strict=True):
                assert np.array(row["multi_vector"], np.float32).tobytes() == each.tobytes()


def test_options_for_vectors_of_texts_are_refused_for_such_a_model(
    encode, rows_file, tmp_path, colbert_bundle
):
    for output, options, message in (
        ("v.npy", {}, "the output .*v.npy is for vectors of texts"),
        ("v.jsonl", {"normalize": True}, "--normalize is for"),
        ("v.jsonl", {"truncate_dim": 8}, "--truncate-dim is for"),
        ("v.jsonl", {"precision": "float16"}, "--precision float16 is for"),
        ("v.jsonl", {"over_long": "chunk"}, "--over-long chunk is for"),
        ("v.jsonl", {"also": ("sparse",)}, "gives no sparse output"),
    ):
        with pytest.raises(OptionError, match=message):
            encode(rows_file, tmp_path / output, bundle=colbert_bundle, **options)


def test_weights_of_terms_are_stored_alone(encode, rows_file, few_texts, tmp_path):
    pytest.importorskip("sentence_transformers.sparse_encoder")
    from m3e_export import ExportRequest, export
    from splade import make_splade

    checkpoint = make_splade(tmp_path / "model")
    request = ExportRequest(str(checkpoint), tmp_path / "bundle", targets=("native",), gate=str(few_texts))
    bundle = export(request).path
    expected = Encoder.load(bundle).encode_outputs(TEXTS, ["sparse"]).sparse
    file = tmp_path / "out.jsonl"
    encode(rows_file, file, bundle=bundle, also=("sparse",))
    for line, each in zip(file.read_text("utf-8").splitlines(), expected, strict=True):
        row = json.loads(line)
        assert list(row) == ["id", "text", "sparse"]
        assert {int(key): value for key, value in row["sparse"].items()} == each.as_dict()
