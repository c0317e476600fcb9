"""Formats, folders, patterns, and ranges: whatever the cut, every row comes once, in order."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from corpus_files import read_json_lines, read_vectors, write_csv, write_json_lines, write_parquet, write_text
from m3e_corpora.errors import UnreadableInputError
from m3e_runtime import Encoder
from m3e_runtime.errors import OptionError

ODD = [
    'quotes " and ""',
    "two\nlines",
    "comma, tab\tand ;",
    "",
    "ends with CR LF\r\n",
    "全角，文本",
    "\u2028 inside",
]
TABLES = {
    "in.csv": lambda file, texts: write_csv(
        file, [("id", "text"), *((f"{i}", t) for i, t in enumerate(texts))]
    ),
    "in.tsv": lambda file, texts: write_csv(
        file, [("text", "id"), *((t, f"{i}") for i, t in enumerate(texts))], "\t", "\r\n"
    ),
    "in.jsonl": lambda file, texts: write_json_lines(
        file, [{"id": str(i), "text": t} for i, t in enumerate(texts)]
    ),
    "in.parquet": lambda file, texts: write_parquet(
        file, {"id": [str(i) for i in range(len(texts))], "text": texts}, row_group_size=70
    ),
}


@pytest.mark.parametrize("partition_bytes", [30, 1000, 1 << 20])
@pytest.mark.parametrize("name", TABLES)
def test_every_format_gives_encodes_vectors_however_it_is_cut(
    encode, encoder, corpus, tmp_path, out, name, partition_bytes
):
    texts = (corpus[:10] if partition_bytes == 30 else corpus) + ODD
    file = TABLES[name](tmp_path / name, texts)
    summary = encode(file, f"{out}/v/", keep=("id",), partition_bytes=partition_bytes)
    assert summary.texts == len(texts)
    table = ds.dataset(out / "v").to_table()
    assert table["id"].to_pylist() == [str(i) for i in range(len(texts))]
    assert table["text"].to_pylist() == texts
    np.testing.assert_array_equal(read_vectors(out / "v"), encoder.encode(texts))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("partition_bytes", [2, 7, 64, 1 << 20])
def test_text_is_cut_at_line_ends(encode, encoder, tmp_path, out, partition_bytes, end):
    texts = ["一二三四", "", "b", "", "", "五" * 40, "last without an end"]
    file = tmp_path / "in.txt"
    file.write_bytes(b"\xef\xbb\xbf" + end.join(texts).encode())
    encode(file, out / "v.jsonl", partition_bytes=partition_bytes)
    assert [row["text"] for row in read_json_lines(out / "v.jsonl")] == texts


def test_a_folder_is_searched_in_the_order_of_names(encode, tmp_path, out):
    corpus = tmp_path / "corpus"
    for folder in ("b", "a/deep", "_hidden", ".hidden"):
        (corpus / folder).mkdir(parents=True)
    write_text(corpus / "b" / "1.txt", ["three"])
    write_json_lines(corpus / "a" / "deep" / "x.jsonl", [{"text": "one"}])
    write_csv(corpus / "a" / "deep" / "y.csv", [("text",), ("two",)])
    for skipped in ("_hidden/1.txt", ".hidden/1.txt", "_SUCCESS", ".crc.txt", "readme.md"):
        write_text(corpus / skipped, ["never"])
    assert encode(corpus, out / "v.jsonl").partitions == 1
    assert [row["text"] for row in read_json_lines(out / "v.jsonl")] == ["one", "two", "three"]


def test_patterns_and_several_names_come_in_the_order_given(encode, tmp_path, out):
    for name in ("b.txt", "a.txt", "z.md"):
        write_text(tmp_path / name, [name])
    encode([tmp_path / "z.md", tmp_path / "*.txt", tmp_path / "z.md"], out / "v.jsonl")
    assert [row["text"] for row in read_json_lines(out / "v.jsonl")] == ["z.md", "a.txt", "b.txt", "z.md"]


@pytest.mark.parametrize("output", ["v/", "v.jsonl", "v.parquet"])
def test_an_output_among_the_inputs_is_none_of_them(encode, corpus, tmp_path, output):
    write_text(tmp_path / "in.txt", corpus)
    for inputs in (tmp_path, tmp_path / "*", tmp_path / "**"):
        for _ in range(2):
            assert encode(inputs, f"{tmp_path}/{output}", force=True).texts == len(corpus)


def test_a_name_that_looks_like_a_pattern_is_a_file_if_there_is_one(encode, tmp_path, out):
    write_text(tmp_path / "part[1].txt", ["one"])
    assert encode(tmp_path / "part[1].txt", out / "v.npy").texts == 1


@pytest.mark.parametrize("end", ["", "/"])
def test_uris_are_opened_through_pyarrow(encode, encoder, corpus, tmp_path, out, end):
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_text(folder / "1.txt", corpus[:100])
    write_parquet(folder / "2.parquet", {"text": corpus[100:]})
    (folder / "_SUCCESS").touch()
    encode(folder.as_uri() + end, out / "v.npy", partition_bytes=500)
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))
    with pytest.raises(UnreadableInputError, match=r"nothing\.txt"):
        encode((folder / "nothing.txt").as_uri(), out / "w.npy")
    with pytest.raises(UnreadableInputError, match="cannot be read"):
        encode("no-such-system://bucket/x", out / "w.npy")


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
)
def test_parquet_texts_of_every_type(encode, encoder, corpus, tmp_path, out, kind):
    values = (
        pa.array(corpus).cast(kind)
        if not pa.types.is_dictionary(kind)
        else pa.array(corpus).dictionary_encode()
    )
    write_parquet(tmp_path / "in.parquet", {"body": values})
    encode(tmp_path / "in.parquet", out / "v.parquet", field="body")
    assert pq.read_table(out / "v.parquet")["body"].to_pylist() == corpus
    np.testing.assert_array_equal(read_vectors(out / "v.parquet"), encoder.encode(corpus))


def test_parquet_columns_keep_their_types(encode, tmp_path, out):
    columns = {
        "id": pa.array([1, None, 3], pa.uint64()),
        "when": pa.array([datetime.datetime(2026, 1, day) for day in (1, 2, 3)], pa.timestamp("us", "UTC")),
        "tags": pa.array([{"a": [1]}, None, {"a": []}]),
        "text": ["one", "two", "three"],
        "other": ["x", "y", "z"],
    }
    write_parquet(tmp_path / "in.parquet", columns)
    encode(tmp_path / "in.parquet", f"{out}/v/", keep=("when", "id", "tags"), drop_text=True)
    found = ds.dataset(out / "v").to_table()
    assert found.column_names == ["when", "id", "tags", "embedding"]
    for name in ("when", "id", "tags"):
        assert found[name].type == columns[name].type
        assert found[name].combine_chunks() == columns[name]
    encode(tmp_path / "in.parquet", out / "v.jsonl", keep=("id", "when", "tags"))
    rows = read_json_lines(out / "v.jsonl")
    assert [list(row) for row in rows] == [["text", "id", "when", "tags", "embedding"]] * 3
    assert [row["tags"] for row in rows] == [{"a": [1]}, None, {"a": []}]
    assert rows[0]["when"] == "2026-01-01T00:00:00Z"


def test_json_columns_get_types_from_the_first_rows(encode, tmp_path, out):
    objects = [
        {"text": "a", "n": 1, "x": 1, "flag": True, "name": "你", "tags": [1, {"a": None}], "big": 1 << 70},
        {"text": "b", "n": None, "x": 2.5, "tags": "s", "big": 1, "missing": None},
    ]
    file = write_json_lines(tmp_path / "in.jsonl", objects)
    names = ("n", "x", "flag", "name", "tags", "big", "missing")
    encode(file, out / "v.parquet", keep=names)
    table = pq.read_table(out / "v.parquet")
    assert [str(table.schema.field(name).type) for name in names] == [
        *("int64", "double", "bool", "string", "string", "string", "string")
    ]
    assert table["n"].to_pylist() == [1, None]
    assert table["x"].to_pylist() == [1.0, 2.5]
    assert [json.loads(text) for text in table["tags"].to_pylist()] == [[1, {"a": None}], "s"]
    assert table["big"].to_pylist() == [str(1 << 70), "1"]


def test_the_first_of_several_json_files_tells_the_types(encode, tmp_path, out):
    rows = [[{"text": "a", "id": 1}], [{"text": "b", "id": None}], [{"text": "c", "id": "x"}]]
    files = [write_json_lines(tmp_path / f"{i}.jsonl", each) for i, each in enumerate(rows)]
    assert encode(files, f"{out}/v/", keep=("id",), on_error="skip").skipped == 1
    assert ds.dataset(out / "v").to_table()["id"].to_pylist() == [1, None]


@pytest.mark.parametrize("options", [{"keep": ("embedding",)}, {"field": "embedding"}])
def test_a_column_called_as_the_vectors_is_refused(encode, tmp_path, out, options):
    write_parquet(tmp_path / "in.parquet", {"text": ["a"], "embedding": ["b"]})
    with pytest.raises(OptionError, match="'embedding' cannot be kept"):
        encode(tmp_path / "in.parquet", f"{out}/v/", **options)


def test_columns_of_other_types_in_other_files_are_refused(encode, tmp_path, out):
    write_parquet(tmp_path / "1.parquet", {"text": ["a"], "id": pa.array([1], pa.int32())})
    write_parquet(tmp_path / "2.parquet", {"text": ["b"], "id": pa.array([2], pa.int64())})
    inputs = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    with pytest.raises(
        OptionError, match=r"2\.parquet: column 'id' is int64, but it is int32 in .*1\.parquet"
    ):
        encode(inputs, f"{out}/v/", keep=("id",))
    assert list(out.iterdir()) == []
    assert encode(inputs, f"{out}/v/").texts == 2


@pytest.mark.parametrize("name", ["in.txt", "in.csv", "in.jsonl", "in.parquet"])
def test_columns_that_are_not_there_are_refused(encode, tmp_path, out, name):
    file = TABLES.get(name, write_text)(tmp_path / name, ["a", "b"])
    with pytest.raises((OptionError, UnreadableInputError), match=r"columns for --keep|no (column )?'nope'"):
        encode(file, f"{out}/v/", keep=("nope",))
    assert list(out.iterdir()) == []


def test_many_small_files_share_a_part(encode, encoder, corpus, tmp_path, out):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number, text in enumerate(corpus):
        write_text(folder / f"{number:03}.txt", [text])
    total = sum(file.stat().st_size for file in folder.iterdir())
    summary = encode(folder, out / "v.npy", partition_bytes=total // 4)
    assert 4 <= summary.partitions <= 6
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))


def test_rows_of_all_windows_are_there(encode, encoder, corpus, tmp_path, out, monkeypatch):
    from m3e_corpora.encoding import open_window
    from m3e_corpora.inputs.formats import rows

    monkeypatch.setattr(open_window, "WINDOW_ROWS", 32)
    monkeypatch.setattr(rows, "READ_ROWS", 7)
    write_text(tmp_path / "in.txt", corpus)
    for threads in (1, 3):
        encode(tmp_path / "in.txt", out / "v.npy", threads=threads, force=True)
        np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus))


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_each_text_can_have_a_prompt_of_its_own(encode, encoder, corpus, tmp_path, out, name):
    TABLES[name](tmp_path / name, corpus)  # its ids serve as prompts
    prompts = [str(i) for i in range(len(corpus))]
    encode(tmp_path / name, out / "v.npy", prompt_field="id", partition_bytes=5000)
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(corpus, prompt=prompts))
    with pytest.raises(OptionError, match="leave out --prompt"):
        encode(tmp_path / name, out / "w.npy", prompt_field="id", prompt="query: ")


def test_prompts_that_are_not_pooled_stay_out(unpooled_bundle, encode, corpus, tmp_path, out):
    write_text(tmp_path / "in.txt", corpus)
    encode(tmp_path / "in.txt", out / "v.npy", bundle=unpooled_bundle, prompt="query: ")
    expected = Encoder.load(unpooled_bundle).encode(corpus, prompt="query: ")
    np.testing.assert_array_equal(np.load(out / "v.npy"), expected)


def test_a_prompt_that_is_none_makes_a_bad_row(encode, tmp_path, out):
    write_parquet(tmp_path / "in.parquet", {"text": ["a", "b", "c"], "p": ["x", None, ""]})
    assert encode(tmp_path / "in.parquet", out / "v.npy", prompt_field="p", on_error="skip").skipped == 1
    write_parquet(tmp_path / "in.parquet", {"text": ["a"], "p": [1]})
    with pytest.raises(UnreadableInputError, match="column 'p' holds int64"):
        encode(tmp_path / "in.parquet", out / "w.npy", prompt_field="p")
