"""Columns that only the folders of a partitioned data set name."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from corpus_files import files_of, read_json_lines, write_csv, write_json_lines, write_parquet, write_text
from m3e_corpora import CorpusRequest
from m3e_corpora.errors import ResumeError, UnreadableInputError
from m3e_corpora.executors.worker import Outcome, PartitionWorker, WorkerSpec
from m3e_corpora.job.stored import from_json, to_json
from m3e_runtime.errors import OptionError

WRITERS = {
    "part-0.parquet": lambda file, texts: write_parquet(file, {"text": texts}),
    "part-0.jsonl": lambda file, texts: write_json_lines(file, [{"text": text} for text in texts]),
    "part-0.csv": lambda file, texts: write_csv(file, [("text",), *((text,) for text in texts)]),
    "part-0.txt": write_text,
}
VALUES = ["1", "01", "-7", "+1", "2147483647", "2147483648", "1.5", "true", "0x1F", "0x80000000", "%31", ""]


def in_folder(folder, name="part-0.parquet", texts=("a",)):
    folder.mkdir(parents=True, exist_ok=True)
    return WRITERS[name](folder / name, list(texts))


@pytest.mark.parametrize("partition_bytes", [1, 1 << 20])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_takes_columns_from_the_folders(encode, tmp_path, out, name, partition_bytes):
    null = "__HIVE_DEFAULT_PARTITION__"
    for lang, year in (("zh", "2023"), ("%E4%B8%AD a%2Fb", null), (null, "2024")):
        in_folder(tmp_path / "data" / f"lang={lang}" / f"year={year}", name, ["one", "two"])
    options = {"keep": ("year", "lang"), "partition_bytes": partition_bytes}
    encode(tmp_path / "data", f"{out}/v/", **options)
    found = ds.dataset(out / "v").to_table()
    assert (found.schema.field("year").type, found.schema.field("lang").type) == (pa.int32(), pa.string())
    expected = [(None, "中 a/b"), (2024, None), (2023, "zh")]
    expected = sorted(expected * 2, key=str)
    rows = list(zip(found["year"].to_pylist(), found["lang"].to_pylist(), strict=True))
    assert sorted(rows, key=str) == expected
    encode(tmp_path / "data", out / "v.jsonl", **options)
    assert (
        sorted(((row["year"], row["lang"]) for row in read_json_lines(out / "v.jsonl")), key=str) == expected
    )


@pytest.mark.parametrize("values", [*([value] for value in VALUES), ["1", "2"], ["1", "x"]])
def test_types_and_values_are_those_of_pyarrow(encode, tmp_path, out, values):
    for number, value in enumerate(values):
        in_folder(tmp_path / "data" / f"k={value}" / f"{number}")
    encode(tmp_path / "data", out / "v.parquet", keep=("k",))
    expected = ds.dataset(tmp_path / "data", partitioning="hive").to_table()["k"]
    found = pq.read_table(out / "v.parquet")["k"]
    assert found.type == expected.type
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("name", ["part-0.parquet", "part-0.csv", "part-0.jsonl"])
def test_a_column_of_the_file_goes_before(encode, tmp_path, out, name):
    (tmp_path / "id=7").mkdir()
    file = tmp_path / "id=7" / name
    if name.endswith("csv"):
        write_csv(file, [("id", "text"), ("own", "a")])
    elif name.endswith("jsonl"):
        write_json_lines(file, [{"id": "own", "text": "a"}])
    else:
        write_parquet(file, {"id": ["own"], "text": ["a"]})
    encode(file, out / "v.parquet", keep=("id",))
    assert pq.read_table(out / "v.parquet")["id"].to_pylist() == ["own"]


def test_a_single_file_and_a_uri_tell_their_folders_too(encode, tmp_path, out):
    file = in_folder(tmp_path / "a b" / "lang=%E4%B8%AD", texts=["one"])
    for name in (file, file.as_uri(), (tmp_path / "a b").as_uri()):
        encode(name, out / "v.jsonl", keep=("lang",), force=True)
        assert [row["lang"] for row in read_json_lines(out / "v.jsonl")] == ["中"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_whose_folders_do_not_name_the_column_is_refused(encode, tmp_path, out, name):
    in_folder(tmp_path / "data" / "lang=zh", name)
    in_folder(tmp_path / "data" / "others", name)
    if name.endswith("jsonl"):  # any object may lack a field
        encode(tmp_path / "data", out / "v.parquet", keep=("lang",))
        assert pq.read_table(out / "v.parquet")["lang"].to_pylist() == ["zh", None]
        return
    with pytest.raises((OptionError, UnreadableInputError), match=r"others.*'lang'"):
        encode(tmp_path / "data", out / "v.parquet", keep=("lang",))


@pytest.mark.parametrize("value", ["%D6%D0", "\udcd6\udcd0"])
def test_a_value_that_is_not_utf_8_is_refused_where_it_is_kept(encode, tmp_path, out, value):
    file = in_folder(tmp_path / f"lang={value}" / "year=2024", "part-0.txt")
    with pytest.raises(UnreadableInputError, match=r"value of 'lang'.*not UTF-8"):
        encode(file, out / "v.parquet", keep=("lang",))
    encode(file, out / "v.parquet", keep=("year",))
    assert pq.read_table(out / "v.parquet")["year"].to_pylist() == [2024]


def test_a_job_goes_on_with_the_same_types_only(encode, tmp_path, out, corpus):
    for year in ("1", "2"):
        in_folder(tmp_path / "data" / f"year={year}", "part-0.txt", corpus)
    options = {"keep": ("year",), "partition_bytes": 2000}
    encode(tmp_path / "data", f"{out}/v/", **options)
    assert encode(tmp_path / "data", f"{out}/v/", resume=True, **options).texts == 2 * len(corpus)
    (tmp_path / "data" / "year=2").rename(tmp_path / "data" / "year=x")
    with pytest.raises(ResumeError, match="begun differently"):
        encode(tmp_path / "data", f"{out}/v/", resume=True, **options)


def test_skipped_rows_leave_the_folders_values_in_step(encode, encoder, tmp_path, out):
    in_folder(tmp_path / "k=1", "part-0.parquet", ["a", None, "b"])
    encode(tmp_path / "k=1", out / "v.jsonl", keep=("k",), on_error="skip")
    rows = read_json_lines(out / "v.jsonl")
    assert [(row["text"], row["k"]) for row in rows] == [("a", 1), ("b", 1)]
    np.testing.assert_allclose([row["embedding"] for row in rows], encoder.encode(["a", "b"]), atol=1e-6)
    assert json.loads((out / "v.jsonl.rejected.jsonl").read_text())["place"] == "row 2"


def test_workers_of_a_cluster_read_the_folders_of_their_slices(tiny_bundle, encode, tmp_path, out, corpus):
    """What Ray and Spark run in their processes, with outcomes as they are transferred."""
    for lang, year in (("zh", 2023), ("\udcd6", 2024)):
        in_folder(tmp_path / "data" / f"lang={lang}" / f"year={year}", "part-0.txt", corpus)
    options = {"keep": ("year",), "partition_bytes": 4000}
    encode(tmp_path / "data", f"{out}/v/", **options)
    expected = files_of(out / "v")
    for record in (out / "v" / "_m3e" / "parts").iterdir():
        record.unlink()
    spec = WorkerSpec(CorpusRequest(tiny_bundle, (), ""))
    worker = PartitionWorker(spec, out / "v")
    numbers = range(len([name for name in expected if name.startswith("part-")]))
    for outcome in worker.run(numbers):
        assert from_json(to_json(outcome), Outcome) == outcome
        outcome.unwrap()
    assert files_of(out / "v") == expected
