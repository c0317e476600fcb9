"""Fields inside of objects and structs."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import read_json_lines, write_json_lines, write_parquet
from m3e_corpora.errors import UnreadableInputError
from m3e_runtime.errors import InvalidTextError

ROWS = [
    {"doc": {"body": "one", "size": {"n": 1}}, "meta": {"id": 7, "x": "y"}},
    {"doc": {"body": "两个", "size": {"n": 2}}, "meta": None},
    {"doc": {"body": "three", "size": None}, "meta": {"id": 9, "x": "z"}},
]
FIELDS = ("meta.id", "doc.size.n")


def write(folder, kind, rows):
    if kind == "jsonl":
        return write_json_lines(folder / "in.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet", row_group_size=2)
    return folder / "in.parquet"


@pytest.mark.parametrize("partition_bytes", [1, 1 << 20])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_fields_are_found_by_their_path(encode, encoder, tmp_path, out, kind, partition_bytes):
    file = write(tmp_path, kind, ROWS)
    options = {"field": "doc.body", "keep": FIELDS, "partition_bytes": partition_bytes}
    encode(file, out / "v.parquet", **options)
    table = pq.read_table(out / "v.parquet")
    assert table.column_names == ["doc.body", "meta.id", "doc.size.n", "embedding"]
    assert table["doc.body"].to_pylist() == ["one", "两个", "three"]
    assert table["meta.id"].to_pylist() == [7, None, 9]
    assert table["doc.size.n"].to_pylist() == [1, 2, None]
    assert [str(table.schema.field(name).type) for name in FIELDS] == ["int64", "int64"]
    encode(file, out / "v.jsonl", **options)
    assert [row["meta.id"] for row in read_json_lines(out / "v.jsonl")] == [7, None, 9]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_column_whose_name_has_a_dot_goes_before(encode, tmp_path, out, kind):
    rows = [{"doc.body": "literal", "doc": {"body": "nested", "a.b": {"c": 1}}}]
    encode(write(tmp_path, kind, rows), out / "v.jsonl", field="doc.body", keep=("doc.a.b.c",))
    (row,) = read_json_lines(out / "v.jsonl")
    assert (row["doc.body"], row["doc.a.b.c"]) == ("literal", 1)


def test_objects_are_kept_whole_or_without_their_text(encode, tmp_path, out):
    file = write(tmp_path, "jsonl", ROWS)
    encode(file, out / "v.jsonl", field="doc.body")
    found = read_json_lines(out / "v.jsonl")
    assert [{k: v for k, v in row.items() if k != "embedding"} for row in found] == ROWS
    encode(file, out / "w.jsonl", field="doc.body", drop_text=True)
    first = read_json_lines(out / "w.jsonl")[0]
    assert (first["doc"], first["meta"]) == ({"size": {"n": 1}}, ROWS[0]["meta"])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_prompt_can_be_inside_of_another_field(encode, encoder, tmp_path, out, kind):
    rows = [{"text": "a", "p": {"q": "x: "}}, {"text": "b", "p": {"q": "y: "}}]
    encode(write(tmp_path, kind, rows), out / "v.parquet", prompt_field="p.q")
    found = pq.read_table(out / "v.parquet")["embedding"].to_pylist()
    expected = encoder.encode(["a", "b"], prompt=["x: ", "y: "])
    assert found == expected.tolist()


def test_a_field_that_is_not_there_is_refused_with_those_that_are(encode, tmp_path, out):
    file = write(tmp_path, "parquet", ROWS)
    with pytest.raises(UnreadableInputError, match=r"no column 'doc\.nope' .*'doc', .*'doc\.body'"):
        encode(file, out / "v.npy", field="doc.nope")
    with pytest.raises(UnreadableInputError, match=r"column 'doc\.size' holds struct"):
        encode(file, out / "v.npy", field="doc.size")
    file = write(tmp_path, "jsonl", [*ROWS, {"doc": None}])
    with pytest.raises(InvalidTextError, match=r"line 4: no field 'doc\.body' .*'doc'"):
        encode(file, out / "v.npy", field="doc.body")


def test_a_null_struct_is_a_null_text(encode, tmp_path, out):
    column = pa.array([{"body": "a"}, None], pa.struct([("body", pa.string())]))
    file = write_parquet(tmp_path / "in.parquet", {"doc": column})
    with pytest.raises(
        InvalidTextError, match=r"in\.parquet, row 2: column 'doc\.body' is null.*--on-error skip"
    ):
        encode(file, out / "v.npy", field="doc.body")
