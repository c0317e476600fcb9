"""What an output holds: types, what its numbers mean, which model made them; an index that finds."""

import json
import subprocess
import sys

import faiss
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from corpus_files import files_of, read_json_lines, read_vectors, write_json_lines, write_text
from m3e_corpora.outputs.sinks import parquet
from m3e_runtime.errors import OptionError


@pytest.fixture
def source(tmp_path, corpus):
    return write_text(tmp_path / "in.txt", corpus)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "uint8", "binary", "ubinary"])
def test_a_folder_tells_types_and_meaning_of_its_numbers(encode, encoder, corpus, source, out, precision):
    ranges = None
    if precision in ("int8", "uint8"):
        floats = encoder.encode(corpus, truncate_dim=48)
        ranges = np.stack([floats.min(axis=0), floats.max(axis=0)])
    options = {"precision": precision, "truncate_dim": 48, "ranges": ranges}
    encode(source, f"{out}/v/", partition_bytes=3000, **options)
    schema = ds.dataset(out / "v").schema
    expected = encoder.encode(corpus, **options)
    assert schema.field("embedding").type.list_size == expected.shape[1]
    metadata = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    assert (metadata["m3e.precision"], metadata["m3e.dimension"]) == (precision, "48")
    assert ("m3e.ranges" in metadata) == (ranges is not None)
    assert metadata["m3e.meaning"]
    found = read_vectors(out / "v")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_folder_is_complete_when_it_says_so(encode, source, out, monkeypatch):
    complete = []
    write = parquet.ParquetSink.write

    def watch(self, *arguments):
        complete.append((out / "v" / "_SUCCESS").exists())
        write(self, *arguments)

    monkeypatch.setattr(parquet.ParquetSink, "write", watch)
    encode(source, f"{out}/v/", partition_bytes=3000)
    assert not any(complete)
    assert (out / "v" / "_SUCCESS").exists()
    assert all(name.startswith(("part-", "_")) for name in files_of(out / "v"))


@pytest.mark.parametrize("output", ["v.npy", "v.parquet", "v.jsonl"])
def test_a_file_does_not_depend_on_the_partitions(encode, source, out, output):
    encode(source, out / output)
    whole = (out / output).read_bytes()
    encode(source, out / output, partition_bytes=2000, force=True)
    if output == "v.parquet":  # row groups end with their partition
        assert pq.ParquetFile(out / output).num_row_groups > 1
    else:
        assert (out / output).read_bytes() == whole
    assert [path.name for path in out.iterdir()] == [output]


def test_texts_can_be_dropped(encode, tmp_path, out):
    file = write_json_lines(tmp_path / "in.jsonl", [{"id": 1, "body": "a", "x": [2]}])
    encode(file, f"{out}/v/", field="body", keep=("id",), drop_text=True)
    assert ds.dataset(out / "v").schema.names == ["id", "embedding"]
    encode(file, out / "v.jsonl", field="body", drop_text=True)
    assert list(read_json_lines(out / "v.jsonl")[0]) == ["id", "x", "embedding"]
    encode(file, out / "w.jsonl", field="body", keep=("x",))
    assert list(read_json_lines(out / "w.jsonl")[0]) == ["body", "x", "embedding"]


def test_columns_have_no_place_in_npy(encode, source, out):
    with pytest.raises(OptionError, match="cannot store columns"):
        encode(source, out / "v.npy", keep=("id",))


@pytest.mark.parametrize("index", ["Flat", "HNSW16", "IVF4,Flat", "SQfp16"])
def test_a_faiss_index_finds_each_text(encode, encoder, corpus, source, out, index):
    encode(source, out / "v.faiss", index=index, partition_bytes=4000)
    assert [path.name for path in out.iterdir()] == ["v.faiss"]
    found = faiss.read_index(str(out / "v.faiss"))
    assert found.ntotal == len(corpus)
    vectors = encoder.encode(corpus, normalize_embeddings=True)
    scores, rows = found.search(vectors[170:200], 1)
    assert (rows[:, 0] == np.arange(170, 200)).mean() > 0.9
    np.testing.assert_allclose(np.median(scores), 1, atol=2e-3)


def test_a_faiss_index_of_bits(encode, encoder, corpus, source, out):
    encode(source, out / "v.faiss", precision="ubinary")
    found = faiss.read_index_binary(str(out / "v.faiss"))
    distances, _ = found.search(encoder.encode(corpus, precision="ubinary")[:20], 1)
    assert not distances.any()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"index": "Nope"}, "FAISS cannot make it"),
        ({"index": "PQ48"}, "FAISS cannot make it"),
        ({"precision": "float16"}, "float32 or ubinary"),
    ],
)
def test_an_index_that_cannot_be_is_refused_before_any_work(encode, source, out, options, problem):
    with pytest.raises(OptionError, match=problem):
        encode(source, out / "v.faiss", **options)
    assert list(out.iterdir()) == []


def test_an_index_that_cannot_be_trained_keeps_the_vectors(encode, source, out):
    with pytest.raises(OptionError, match="cannot be trained with 300 vectors"):
        encode(source, out / "v.faiss", index="IVF1000,Flat")
    assert encode(source, out / "v.faiss", index="IVF10,Flat", resume=True).resumed == 1


def test_without_pyarrow_and_faiss_text_json_and_csv_give_npy_and_json_lines(tiny_bundle, corpus, tmp_path):
    write_text(tmp_path / "in.txt", corpus[:5])
    write_json_lines(tmp_path / "in.jsonl", [{"text": text} for text in corpus[:5]])
    (tmp_path / "in.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    code = f"""
import sys
for name in ("pyarrow", "pyarrow.parquet", "faiss", "ray", "pyspark"):
    sys.modules[name] = None
from m3e_corpora.cli import main
bundle = {str(tiny_bundle)!r}
for source in ("in.txt", "in.jsonl", "in.csv"):
    for suffix in ("npy", "jsonl"):
        target = f"{tmp_path}/{{source}}.{{suffix}}"
        assert main([bundle, f"{tmp_path}/{{source}}", "-o", target, "--partition-size", "9"]) == 0
assert main([bundle, "{tmp_path}/in.csv", "--keep", "id", "-o", "{tmp_path}/k.jsonl"]) == 0
for output in ("v.parquet", "v/", "v.faiss"):
    assert main([bundle, "{tmp_path}/in.txt", "-o", f"{tmp_path}/{{output}}"]) == 5
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "k.jsonl").read_text())["id"] == "1"
    assert "pip install 'm3e-runtime[faiss]'" in done.stderr
