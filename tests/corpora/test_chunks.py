"""With --over-long chunk, an output has a row for each chunk, and says where it is in its text."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import read_json_lines, read_vectors, write_json_lines, write_text
from families import write_byte_level_bpe
from m3e_corpora.cli import main
from m3e_corpora.errors import ResumeError
from m3e_corpora.outputs.payload import TypedColumns
from m3e_runtime import ChunkOptions, Encoder, InvalidTextError, OptionError
from synthetic import read_json, write_json

LONG = "今天天气很好。我们去公园散步吧！\r\nIt costs 3.14 dollars. 👩‍👩‍👧‍👦 "
CHUNKING = ChunkOptions(tokens=40, overlap=8)


@pytest.fixture
def texts(corpus):
    return [text if number % 7 else LONG * (number % 5 + 2) for number, text in enumerate(corpus)]


@pytest.fixture
def source(tmp_path, texts):
    rows = ({"id": number, "doc": {"body": text}} for number, text in enumerate(texts))
    return write_json_lines(tmp_path / "in.jsonl", rows)


OPTIONS = {"over_long": "chunk", "chunking": CHUNKING, "field": "doc.body", "partition_bytes": 3000}
LATE = ChunkOptions(tokens=40, overlap=8, late=True)


def expected_rows(encoder, texts, chunking):
    """Number of the text, number of the chunk, start, end, text of the chunk, vector."""
    found = encoder.encode_chunks(texts, chunking=chunking)
    return [
        (number, chunk, start, end, text[start:end], vector)
        for number, (text, each) in enumerate(zip(texts, found, strict=True))
        for chunk, (start, end, vector) in enumerate(
            zip(each.start.tolist(), each.end.tolist(), each.vectors, strict=True)
        )
    ]


@pytest.mark.parametrize("chunking", [CHUNKING, LATE])
def test_json_lines_have_a_line_for_each_chunk(encode, encoder, source, texts, out, chunking):
    summary = encode(source, out / "v.jsonl", **{**OPTIONS, "chunking": chunking})
    expected = expected_rows(encoder, texts, chunking)
    found = read_json_lines(out / "v.jsonl")
    assert [(row["id"], row["chunk"], row["start"], row["end"], row["doc"]["body"]) for row in found] == [
        row[:5] for row in expected
    ]
    np.testing.assert_array_equal(
        np.array([row["embedding"] for row in found], np.float32), np.stack([row[5] for row in expected])
    )
    divided = {row[0] for row in expected if row[1]}
    assert (summary.texts, summary.divided, summary.truncated) == (len(expected), len(divided), 0)
    assert summary.partitions > 3


@pytest.mark.parametrize("output", ["v.parquet", "v/"])
def test_parquet_has_columns_for_places(encode, encoder, source, texts, out, output):
    encode(source, f"{out}/{output}", keep=("id",), **OPTIONS)
    table = pq.read_table(out / output)
    assert table.schema.names == ["doc.body", "id", "chunk", "start", "end", "embedding"]
    expected = expected_rows(encoder, texts, CHUNKING)
    for index, name in enumerate(("id", "chunk", "start", "end", "doc.body")):
        assert table.column(name).to_pylist() == [row[index] for row in expected]
    np.testing.assert_array_equal(read_vectors(out / output), np.stack([row[5] for row in expected]))


def test_a_huge_text_is_stored_once_and_not_for_each_of_its_chunks(encode, tmp_path, out, monkeypatch):
    taken = []
    real = TypedColumns.with_chunks

    def watched(self, places, field, texts):
        before = pa.total_allocated_bytes()
        made = real(self, places, field, texts)
        taken.append(pa.total_allocated_bytes() - before)
        return made

    monkeypatch.setattr(TypedColumns, "with_chunks", watched)
    source = write_json_lines(tmp_path / "in.jsonl", [{"id": 1, "text": LONG * 1000}])
    summary = encode(source, out / "v.parquet", keep=("id",), over_long="chunk", chunking=ChunkOptions(400))
    assert summary.texts > 50
    assert sum(taken) < 4 * len((LONG * 1000).encode())


def test_texts_can_be_left_out(encode, source, out):
    encode(source, out / "v.jsonl", drop_text=True, **OPTIONS)
    first = read_json_lines(out / "v.jsonl")[0]
    assert set(first) == {"id", "doc", "chunk", "start", "end", "embedding"}
    assert first["doc"] == {}


def test_a_failed_job_goes_on_and_another_length_is_another_job(encode, source, out, tmp_path, monkeypatch):
    whole = tmp_path / "whole.jsonl"
    encode(source, whole, **OPTIONS)
    runs = itertools.count()
    real = Encoder.run

    def failing(*arguments):
        if next(runs) > 8:
            raise RuntimeError("broken")
        return real(*arguments)

    monkeypatch.setattr(Encoder, "run", failing)
    with pytest.raises(RuntimeError, match="broken"):
        encode(source, out / "v.jsonl", **OPTIONS)
    monkeypatch.setattr(Encoder, "run", real)
    with pytest.raises(ResumeError, match="chunking"):
        encode(source, out / "v.jsonl", resume=True, **{**OPTIONS, "chunking": ChunkOptions(41, 8)})
    assert encode(source, out / "v.jsonl", resume=True, **OPTIONS).resumed
    assert (out / "v.jsonl").read_bytes() == whole.read_bytes()


def test_prompts_precede_each_chunk(encode, encoder, tmp_path, out):
    rows = [{"text": LONG * 4, "p": "问题："}, {"text": LONG * 3, "p": ""}]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    encode(source, out / "v.jsonl", prompt_field="p", over_long="chunk", chunking=CHUNKING)
    found = encoder.encode_chunks([row["text"] for row in rows], prompt=["问题：", ""], chunking=CHUNKING)
    vectors = np.array([row["embedding"] for row in read_json_lines(out / "v.jsonl")], np.float32)
    np.testing.assert_array_equal(vectors, np.concatenate([each.vectors for each in found]))


def test_late_chunks_have_the_encoders_vectors_whatever_is_read_with_them(
    encode, unpooled_bundle, tmp_path, out
):
    """Prompts that are not pooled, texts of several windows, texts that come twice or with another prompt."""
    encoder = Encoder.load(unpooled_bundle)
    longest = "".join(f"{number} {LONG}" for number in range(40))
    texts = [longest, "短", LONG * 4, "", LONG * 4, LONG * 4, longest]
    prompts = ["问题：", "", "问题：", "p", "问题：", "", "问题："]
    rows = [{"text": text, "p": prompt} for text, prompt in zip(texts, prompts, strict=True)]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    summary = encode(
        source, out / "v.jsonl", unpooled_bundle, prompt_field="p", over_long="chunk", chunking=LATE,
        threads=2,
    )  # fmt: skip
    found = encoder.encode_chunks(texts, prompt=prompts, chunking=LATE)
    vectors = np.array([row["embedding"] for row in read_json_lines(out / "v.jsonl")], np.float32)
    np.testing.assert_array_equal(vectors, np.concatenate([each.vectors for each in found]))
    assert (summary.texts, summary.divided) == (len(vectors), 5)
    assert summary.duplicates == len(found[0]) + len(found[2])


def test_late_chunking_needs_a_model_that_pools_by_mean(encode, cls_bundle, source, out):
    with pytest.raises(OptionError, match="needs mean pooling, and this model pools by cls"):
        encode(source, out / "v.jsonl", cls_bundle, **{**OPTIONS, "chunking": LATE})
    assert not list(out.iterdir())


def test_the_command_has_options_and_counts(tiny_bundle, tmp_path, out, capsys):
    source = write_text(tmp_path / "in.txt", ["短", "今天天气很好。" * 40])
    options = [
        "--over-long",
        "chunk",
        "--chunk-tokens",
        "40",
        "--chunk-overlap",
        "8",
        "--json",
        "--no-progress",
    ]
    assert main([str(tiny_bundle), str(source), "-o", str(out / "v.parquet"), *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["texts"] == pq.read_table(out / "v.parquet").num_rows > 5
    assert (summary["divided"], summary["truncated"]) == (1, 0)
    output = out / "late.parquet"
    assert main([str(tiny_bundle), str(source), "-o", str(output), "--chunk-late", *options]) == 0
    late = pq.read_table(output)
    assert late.drop_columns("embedding") == pq.read_table(out / "v.parquet").drop_columns("embedding")
    assert late.column("embedding") != pq.read_table(out / "v.parquet").column("embedding")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over_long": "chunk", "output": "v.npy"}, "cannot store which chunk"),
        ({"over_long": "chunk", "output": "v.faiss"}, "cannot store which chunk"),
        ({"chunking": CHUNKING}, "need --over-long chunk"),
        ({"over_long": "chunk", "chunking": ChunkOptions(9999)}, "tokens=9999 is not between"),
        ({"over_long": "chunk", "chunking": LATE, "also": ("sparse",)}, "--also sparse: late chunking gives"),
        ({"over_long": "chunk", "keep": ("start",)}, "the column 'start' cannot be kept"),
        ({"over_long": "chunk", "chunking": ChunkOptions(1)}, "chunks of 1 tokens have no room"),
        ({"over_long": "chunk", "chunking": ChunkOptions(16, 9)}, "overlap=9: at most half"),
        ({"over_long": "chunk", "prompt": "word " * 600}, "have no room for text"),
        ({"over_long": "chunk", "chunking": ChunkOptions(8), "prompt": "字" * 6}, "have no room for text"),
        ({"over_long": "chunk", "chunking": {"tokens": 32}}, "is dict, not ChunkOptions"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(encode, tmp_path, out, options, message):
    source = write_json_lines(tmp_path / "in.jsonl", [{"text": "a", "start": 1}])
    output = out / options.pop("output", "v.parquet")
    with pytest.raises(OptionError, match=message):
        encode(source, output, **options)
    assert not list(out.iterdir())


@pytest.fixture
def byte_level(tiny_bundle, tmp_path):
    """The tiny model with a tokenizer that has several tokens for an emoji."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "byte-level")
    written = write_byte_level_bpe(tmp_path / "tokenizer") / "tokenizer.json"
    shutil.copy(written, bundle / "tokenizer.json")
    manifest = read_json(bundle / "manifest.json")
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    manifest["tokenization"]["file"].update(size=written.stat().st_size, sha256=digest)
    write_json(bundle / "manifest.json", manifest)
    return bundle


def test_rows_that_cannot_be_divided_are_bad_rows(encode, byte_level, tmp_path, out):
    texts = ["a short text. " * 9, "𓀀𓀁𓀂" * 9, "b", "another one. " * 9]
    source = write_json_lines(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    options = {"over_long": "chunk", "chunking": ChunkOptions(4)}
    with pytest.raises(InvalidTextError, match=r"line 2: the character at .* --on-error skip"):
        encode(source, out / "v.jsonl", byte_level, **options)
    summary = encode(source, out / "v.jsonl", byte_level, on_error="skip", **options)
    assert (summary.skipped, summary.divided) == (1, 2)
    (rejected,) = read_json_lines(out / "v.jsonl.rejected.jsonl")
    assert rejected["place"] == "line 2"


def test_a_prompt_of_a_row_that_leaves_no_room_is_a_bad_row(encode, tmp_path, out):
    rows = [{"text": LONG * 4, "p": "问题："}, {"text": LONG * 4, "p": "字" * 39}, {"text": "a", "p": ""}]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    options = {"over_long": "chunk", "chunking": CHUNKING, "prompt_field": "p"}
    with pytest.raises(InvalidTextError, match="line 2: chunks of 40 tokens have no room"):
        encode(source, out / "v.jsonl", **options)
    assert encode(source, out / "v.jsonl", on_error="skip", **options).skipped == 1


def test_fields_of_whole_objects_are_not_replaced(encode, tmp_path, out):
    """An object that has a field of a name that chunks have is refused, unless it is left out by --keep."""
    rows = [{"text": "a", "id": 1}, {"text": LONG * 4, "id": 2, "start": "yesterday"}]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    with pytest.raises(InvalidTextError, match=r"line 2: has a field 'start', and .* with --keep"):
        encode(source, out / "v.jsonl", over_long="chunk", chunking=CHUNKING)
    encode(source, out / "v.jsonl", over_long="chunk", chunking=CHUNKING, keep=("id",))
    assert {row["id"] for row in read_json_lines(out / "v.jsonl")} == {1, 2}


def test_lengths_may_be_numbers_of_numpy(encode, source, out):
    encode(source, out / "a.jsonl", **OPTIONS)
    chunking = ChunkOptions(np.int64(40), np.int64(8))
    options = {**OPTIONS, "chunking": chunking, "partition_bytes": np.int64(3000)}
    encode(source, out / "b.jsonl", batch_size=np.int64(64), **options)
    assert (out / "a.jsonl").read_bytes() == (out / "b.jsonl").read_bytes()
