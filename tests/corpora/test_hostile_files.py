"""Files that are not what they say: a line on what is wrong, exit code 4, nothing left."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_files import write_parquet, write_text
from m3e_corpora.cli import main


@pytest.fixture
def command(tiny_bundle, capsys):
    def call(*arguments):
        code = main([str(tiny_bundle), *map(str, arguments)])
        return code, capsys.readouterr().err

    return call


def whole_parquet(folder):
    texts = ["".join(chr(0x4E00 + (i * 7 + j) % 5000) for j in range(50)) for i in range(200)]
    return write_parquet(folder / "in.parquet", {"text": texts}, row_group_size=50, use_dictionary=False)


def refuse(command, out, file, *problems, options=()):
    code, stderr = command(file, "-o", f"{out}/v/", *options)
    assert code == 4
    assert stderr.count("\n") == 1
    assert str(file) in stderr
    for problem in problems:
        assert problem in stderr
    assert list(out.iterdir()) == []


POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("name", ["in.txt", "in.jsonl", "in.csv", "in.parquet", "in"])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_pointer_of_git_lfs_among_the_inputs_is_named(command, tmp_path, out, name, place):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / name
    file.write_text(POINTER)
    given = file.parent if place == "folder" and file.suffix else file
    code, stderr = command(given, "-o", f"{out}/v/", "--on-error", "skip")
    assert code == 4
    assert f"{file}: a pointer of Git LFS" in stderr
    assert "git lfs pull" in stderr
    assert list(out.iterdir()) == []


def test_ranges_that_are_a_pointer_of_git_lfs_are_named(command, tmp_path, out):
    write_text(tmp_path / "in.txt", ["a"])
    (tmp_path / "ranges.npy").write_text(POINTER)
    options = ("-o", out / "v.npy", "--precision", "int8", "--ranges", tmp_path / "ranges.npy")
    code, stderr = command(tmp_path / "in.txt", *options)
    assert code == 2
    assert "git lfs pull" in stderr


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -9])
def test_parquet_that_is_cut_off(command, tmp_path, out, keep):
    file = whole_parquet(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    refuse(command, out, file, "not valid Parquet")


@pytest.mark.parametrize("options", [(), ("--on-error", "skip")])
def test_parquet_with_damaged_pages(command, tmp_path, out, options):
    file = whole_parquet(tmp_path)
    data = bytearray(file.read_bytes())
    data[4 : len(data) // 2] = np.random.default_rng(0).bytes(len(data) // 2 - 4)
    file.write_bytes(bytes(data))
    refuse(command, out, file, "not valid Parquet", options=options)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([1, 2]), "int64"),
        (pa.array([1.5]), "double"),
        (pa.array([["a"], ["b"]]), "list"),
        (pa.array([{"text": "a"}]), "struct"),
        (pa.array([True]), "bool"),
    ],
)
def test_a_column_that_holds_no_texts(command, tmp_path, out, values, kind):
    file = write_parquet(tmp_path / "in.parquet", {"text": values})
    refuse(command, out, file, "column 'text' holds", kind, "--field")


def test_two_columns_of_one_name(command, tmp_path, out):
    file = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), file)
    refuse(command, out, file, "two columns 'text'")
    write_text(tmp_path / "in.csv", ["text,text", "a,b"])
    refuse(command, out, tmp_path / "in.csv", "two columns 'text'")


@pytest.mark.parametrize("name", ["in.parquet", "in.csv"])
def test_a_missing_column_names_those_that_are_there(command, tmp_path, out, name):
    file = tmp_path / name
    if name == "in.parquet":
        write_parquet(file, {"id": [1], "body": ["a"]})
    else:
        write_text(file, ["id,body", "1,a"])
    refuse(command, out, file, "no column 'text'", "'id', 'body'", "--field")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b'"text\n', b"\n\n", b"\xef\xbb\xbf"])
def test_csv_without_a_header(command, tmp_path, out, content):
    (tmp_path / "in.csv").write_bytes(content)
    refuse(command, out, tmp_path / "in.csv")


@pytest.mark.parametrize(
    "content", [bytes(5000), np.random.default_rng(1).bytes(5000)], ids=["zeros", "noise"]
)
@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "parquet"])
def test_a_file_of_zeros_and_a_file_of_noise(command, tmp_path, out, suffix, content):
    (tmp_path / f"in.{suffix}").write_bytes(content)
    code, stderr = command(tmp_path / f"in.{suffix}", "-o", out / "v.npy")
    if suffix == "txt" and not any(content):  # zeros are characters
        assert code == 0
        return
    assert code == 4
    assert stderr.count("\n") == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.txt", b""),
        ("in.txt", b"\xef\xbb\xbf"),
        ("in.jsonl", b"\n \n\r\n"),
        ("in.csv", b"text"),
        ("in.csv", b"id,text\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("output", ["v/", "v.npy", "v.jsonl", "v.parquet"])
def test_files_without_rows_give_outputs_without_rows(encode, tmp_path, out, name, content, output):
    (tmp_path / name).write_bytes(content)
    summary = encode(tmp_path / name, f"{out}/{output}")
    assert (summary.texts, summary.partitions) == (0, 1)
    if output == "v.npy":
        assert np.load(out / "v.npy").shape == (0, 64)
    elif output != "v.jsonl":
        assert pq.read_table(out / output.rstrip("/"))["embedding"].type.list_size == 64


def test_parquet_without_rows(encode, tmp_path, out):
    for number, groups in enumerate(([], [0])):
        schema = pa.schema({"text": pa.string()})
        with pq.ParquetWriter(tmp_path / "in.parquet", schema) as writer:
            for _ in groups:
                writer.write_table(schema.empty_table())
        assert encode(tmp_path / "in.parquet", f"{out}/v{number}/").texts == 0
    write_parquet(tmp_path / "nulls.parquet", {"text": pa.nulls(3)})
    assert encode(tmp_path / "nulls.parquet", out / "v.npy", on_error="skip").skipped == 3


def test_an_empty_folder(command, tmp_path, out):
    (tmp_path / "empty").mkdir()
    refuse(command, out, tmp_path / "empty", "no file found", "*.parquet")


def test_a_link_to_nowhere_and_a_link_in_a_circle(command, tmp_path, out):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "in.txt").symlink_to(tmp_path / "nowhere.txt")
    (folder / "again").symlink_to(folder)
    refuse(command, out, folder, "no file found")


def test_a_pipe_and_a_device_are_not_files_of_a_folder(command, tmp_path, out):
    import os

    folder = tmp_path / "corpus"
    folder.mkdir()
    os.mkfifo(folder / "in.txt")
    refuse(command, out, folder, "no file found")
