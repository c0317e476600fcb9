"""Rows without a text, texts that are too long, texts that come twice."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import read_json_lines, read_vectors, write_json_lines, write_parquet, write_text
from m3e_corpora.inputs.formats import lines, rows
from m3e_runtime import Encoder
from m3e_runtime.errors import InvalidTextError

GOOD = ["one", "两个", "", "three"]
LONG = "字" * 511  # with [CLS] and [SEP] one token too many


def json_file(folder):
    bad = [b'{"text": 1}', b'{"text": null}', b'{"other": "x"}', b"[1]", b'{"text": "\xff"}', b"{"]
    good = [json.dumps({"text": text}).encode() for text in GOOD]
    lines = [good[0], *bad[:3], good[1], b"", bad[3], good[2], *bad[4:], good[3]]
    (folder / "in.jsonl").write_bytes(b"\n".join(lines))
    return folder / "in.jsonl", ["line 2", "line 3", "line 4", "line 7", "line 9", "line 10"]


def text_file(folder):
    (folder / "in.txt").write_bytes(b"one\n\xff\n\xe4\xb8\xa4\xe4\xb8\xaa\n\n\xc3(\nthree\n")
    return folder / "in.txt", ["line 2", "line 5"]


def csv_file(folder):
    content = 'id,text\n1,one\n2\n3,两个\n\n4,"a"b\n5,\n6,a,b\n7,"two\nlines", x\n8,three\n9,"open'
    (folder / "in.csv").write_bytes(content.encode() + b"\n\xff")
    return folder / "in.csv", ["line 3", "line 6", "line 8", "line 10", "line 13"]


def parquet_file(folder):
    values = [b"one", None, "两个".encode(), b"", b"\xff\xfe", b"three", b"\xed\xa0\x80"]
    write_parquet(folder / "in.parquet", {"text": pa.array(values, pa.binary())}, row_group_size=3)
    return folder / "in.parquet", ["row 2", "row 5", "row 7"]


FILES = [json_file, text_file, csv_file, parquet_file]


@pytest.mark.parametrize("partition_bytes", [8, 1 << 20])
@pytest.mark.parametrize("make", FILES)
def test_bad_rows_are_left_out_counted_and_listed_with_their_place(
    encode, encoder, tmp_path, out, caplog, make, partition_bytes
):
    file, places = make(tmp_path)
    summary = encode(file, out / "v.npy", on_error="skip", partition_bytes=partition_bytes)
    assert (summary.texts, summary.skipped) == (len(GOOD), len(places))
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(GOOD))
    rejected = read_json_lines(out / "v.npy.rejected.jsonl")
    assert [(row["file"], row["place"]) for row in rejected] == [(str(file), place) for place in places]
    assert all(row["problem"] for row in rejected)
    for place in places:
        assert f"{file}, {place}: " in caplog.text


@pytest.mark.parametrize("make", FILES)
def test_a_bad_row_is_fatal_unless_it_is_skipped(encode, tmp_path, out, make):
    file, places = make(tmp_path)
    with pytest.raises(InvalidTextError, match=f"{file.name}, {places[0]}: .*--on-error skip"):
        encode(file, out / "v.npy")
    assert list(out.iterdir()) == []


def test_after_a_fatal_row_the_same_job_goes_on_without_it(encode, corpus, tmp_path, out):
    file = tmp_path / "in.txt"
    write_text(file, corpus)
    file.write_bytes(file.read_bytes() + b"\xff\n")
    with pytest.raises(InvalidTextError, match=f"line {len(corpus) + 1}: not UTF-8"):
        encode(file, f"{out}/v/", partition_bytes=2000)
    summary = encode(file, f"{out}/v/", on_error="skip", resume=True)
    assert summary.resumed == summary.partitions - 1
    assert (summary.texts, summary.skipped) == (len(corpus), 1)
    assert [row["place"] for row in read_json_lines(out / "v" / "_m3e" / "rejected.jsonl")] == [
        f"line {len(corpus) + 1}"
    ]


def test_only_the_first_bad_rows_are_told_at_once(encode, tmp_path, out, caplog):
    write_json_lines(tmp_path / "in.jsonl", [{"text": None}] * 25)
    assert encode(tmp_path / "in.jsonl", out / "v.npy", on_error="skip").texts == 0
    assert len(caplog.records) == 11
    assert "listed in a file" in caplog.records[-1].message
    assert len(read_json_lines(out / "v.npy.rejected.jsonl")) == 25
    assert np.load(out / "v.npy").shape == (0, 64)


def test_a_value_that_does_not_fit_its_column_makes_a_bad_row(encode, tmp_path, out, monkeypatch):
    monkeypatch.setattr("m3e_corpora.inputs.formats.json_lines._SAMPLE", 2)
    values = [1, 2, 3.0, "4", True, None, 1 << 63, 7]
    write_json_lines(tmp_path / "in.jsonl", [{"text": "a", "id": value} for value in values])
    summary = encode(tmp_path / "in.jsonl", out / "v.parquet", keep=("id",), on_error="skip")
    assert summary.skipped == 4
    assert pq.read_table(out / "v.parquet")["id"].to_pylist() == [1, 2, None, 7]
    rejected = read_json_lines(out / "v.parquet.rejected.jsonl")
    assert [row["place"] for row in rejected] == ["line 3", "line 4", "line 5", "line 7"]
    assert "field 'id' is str, but its column is int64" in rejected[1]["problem"]


def test_long_texts_are_truncated_and_counted(encode, encoder, tmp_path, out):
    texts = ["a", LONG, LONG[1:], LONG, "b"]
    write_text(tmp_path / "in.txt", texts)
    summary = encode(tmp_path / "in.txt", out / "v.npy")
    assert (summary.texts, summary.truncated, summary.skipped) == (5, 2, 0)
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(texts))


@pytest.mark.parametrize("prompt", [None, "问"])
def test_long_texts_can_be_left_out(encode, encoder, tmp_path, out, prompt):
    texts = ["a", LONG, LONG[1:], LONG, "b"]
    write_json_lines(tmp_path / "in.jsonl", [{"id": i, "text": text} for i, text in enumerate(texts)])
    kept = [0, 2, 4] if prompt is None else [0, 4]
    options = {"over_long": "skip", "prompt": prompt, "keep": ("id",)}
    summary = encode(tmp_path / "in.jsonl", out / "v.parquet", **options)
    assert (summary.texts, summary.truncated, summary.skipped) == (len(kept), 0, 5 - len(kept))
    assert pq.read_table(out / "v.parquet")["id"].to_pylist() == kept
    expected = encoder.encode([texts[index] for index in kept], prompt=prompt)
    np.testing.assert_array_equal(read_vectors(out / "v.parquet"), expected)
    rejected = read_json_lines(out / "v.parquet.rejected.jsonl")
    assert [row["place"] for row in rejected] == [f"line {i + 1}" for i in range(5) if i not in kept]
    assert "longer than 512 tokens" in rejected[0]["problem"]
    encode(tmp_path / "in.jsonl", out / "v.jsonl", **{**options, "keep": None})
    assert [row["id"] for row in read_json_lines(out / "v.jsonl")] == kept


def test_a_long_text_can_be_fatal(encode, tmp_path, out):
    write_text(tmp_path / "in.txt", ["a", LONG])
    with pytest.raises(InvalidTextError, match=r"in\.txt, line 2: longer than 512 tokens.*--over-long skip"):
        encode(tmp_path / "in.txt", out / "v.npy", over_long="fail")


@pytest.mark.parametrize("name", ["in.txt", "in.jsonl", "in.csv", "in.parquet"])
def test_rows_of_no_end_are_not_read_into_memory(encode, encoder, tmp_path, out, monkeypatch, name):
    for module in (lines, rows, __import__("m3e_corpora.inputs.formats.parquet", fromlist=["parquet"])):
        monkeypatch.setattr(module, "ROW_LIMIT", 1000, raising=False)
    texts = ["a", "x" * 5000, "b"]
    file = tmp_path / name
    if name == "in.parquet":
        write_parquet(file, {"text": texts})
    elif name == "in.jsonl":
        write_json_lines(file, [{"text": text} for text in texts])
    else:
        write_text(file, [*(["text"] if name == "in.csv" else []), *texts])
    summary = encode(file, out / "v.npy", on_error="skip")
    assert (summary.texts, summary.skipped) == (2, 1)
    assert "longer than" in (out / "v.npy.rejected.jsonl").read_text()
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(["a", "b"]))


def test_equal_texts_of_a_window_are_computed_once(encode, encoder, tmp_path, out, monkeypatch):
    computed = []
    run = Encoder.run

    def watch(self, token_ids, *arguments):
        computed.extend(token_ids)
        return run(self, token_ids, *arguments)

    texts = ["same", "other", "same", "same", "", "other", ""]
    write_text(tmp_path / "in.txt", texts)
    expected = encoder.encode(texts)
    monkeypatch.setattr(Encoder, "run", watch)
    summary = encode(tmp_path / "in.txt", out / "v.npy")
    assert len(computed) == 3
    assert (summary.texts, summary.duplicates) == (7, 4)
    np.testing.assert_array_equal(np.load(out / "v.npy"), expected)
