"""``m3e-encode``: every format in and out, streams, and an output that is whole or not there."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from m3e_corpora.cli import main
from m3e_corpora.encoding import open_window, pipeline
from m3e_corpora.inputs.formats import rows
from m3e_corpora.outputs import sinks
from m3e_corpora.outputs.sinks import json_lines, parquet
from m3e_runtime import Bundle, Encoder

TEXTS = [
    "今天天气很好",
    "short",
    "",
    "混合 mixed 文本 text",
    "a longer English sentence about nothing",
    "😀🎉",
]
COMMAND = [sys.executable, "-m", "m3e_corpora.cli"]


@pytest.fixture(scope="module")
def encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


@pytest.fixture
def text_file(tmp_path):
    file = tmp_path / "in.txt"
    file.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8", newline="")
    return file


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))

    return give


@pytest.fixture
def encode(tiny_bundle, capsys):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        capsys.readouterr()
        try:
            code = main([str(tiny_bundle), *map(str, arguments)])
        except SystemExit as stop:  # argparse
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_lines(file, *lines):
    file.write_bytes(b"".join(line.encode() + b"\n" for line in lines))
    return file


def read_json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


# --- outputs


def test_npy_equals_encode(encode, encoder, text_file, out):
    code, stdout, _ = encode(text_file, "-o", out / "v.npy")
    assert code == 0
    assert f"{len(TEXTS)} texts" in stdout
    assert left_in(out) == ["v.npy"]
    np.testing.assert_array_equal(np.load(out / "v.npy", allow_pickle=False), encoder.encode(TEXTS))
    assert np.load(out / "v.npy", mmap_mode="r").shape == (len(TEXTS), encoder.dimension)


def test_jsonl_from_text(encode, encoder, text_file, out):
    assert encode(text_file, "-o", out / "v.jsonl")[0] == 0
    rows = read_json_lines((out / "v.jsonl").read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [["text", "embedding"]] * len(TEXTS)
    assert [row["text"] for row in rows] == TEXTS
    found = np.array([row["embedding"] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(found, encoder.encode(TEXTS))


def test_jsonl_keeps_the_other_fields_as_they_were(encode, encoder, tmp_path, out):
    line = '{"id": 1.10, "big": 123456789012345678901234567890, "body": "\\u4f60好", "tags": {"a": [null]}}'
    file = write_lines(tmp_path / "in.ndjson", line)
    assert encode(file, "--field", "body", "-o", out / "v.jsonl")[0] == 0
    written = (out / "v.jsonl").read_text(encoding="utf-8")
    assert '"id":1.10' in written
    record = json.loads(written)
    np.testing.assert_array_equal(np.float32(record.pop("embedding")), encoder.encode("你好"))
    assert record == json.loads(line)


def test_an_embedding_in_the_input_is_replaced(encode, encoder, tmp_path, out):
    file = write_lines(tmp_path / "in.jsonl", '{"text": "a", "embedding": [1]}')
    assert encode(file, "-o", out / "v.jsonl")[0] == 0
    assert len(json.loads((out / "v.jsonl").read_text())["embedding"]) == encoder.dimension


@pytest.mark.parametrize("rows_per_group", [2, 8192])
def test_parquet_round_trip(encode, encoder, tiny_bundle, text_file, out, monkeypatch, rows_per_group):
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", rows_per_group)
    assert encode(text_file, "-o", out / "v.parquet")[0] == 0
    assert left_in(out) == ["v.parquet"]
    file = pq.ParquetFile(out / "v.parquet")
    assert file.num_row_groups == -(-len(TEXTS) // rows_per_group)
    table = file.read()
    assert table.column_names == ["text", "embedding"]
    assert table["text"].to_pylist() == TEXTS
    assert str(table.schema.field("embedding").type).endswith(f"[{encoder.dimension}]")
    found = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(TEXTS), -1)
    np.testing.assert_array_equal(found, encoder.encode(TEXTS))
    source = Bundle.open(tiny_bundle).manifest.source
    manifest = (tiny_bundle / "manifest.json").read_bytes()
    assert table.schema.metadata == {
        b"m3e.source": source.id.encode(),
        b"m3e.weights_sha256": source.weights_sha256.encode(),
        b"m3e.bundle_sha256": hashlib.sha256(manifest).hexdigest().encode(),
        b"m3e.artifact": encoder.artifact.name.encode(),
        b"m3e.similarity": b"cosine",
        b"m3e.precision": b"float32",
        b"m3e.dimension": str(encoder.dimension).encode(),
        b"m3e.normalized": b"false",
        b"m3e.meaning": b"components of the vector, without unit",
        b"m3e.prompt": b"",
    }


@pytest.mark.parametrize(
    ("precision", "stored", "arrow"),
    [
        ("float32", "float32", "float"),
        ("float16", "float16", "halffloat"),
        ("int8", "int8", "int8"),
        ("uint8", "uint8", "uint8"),
        ("binary", "int8", "int8"),
        ("ubinary", "uint8", "uint8"),
    ],
)
def test_precisions(encode, encoder, text_file, tmp_path, out, precision, stored, arrow):
    options = ["--precision", precision]
    ranges = None
    if precision in ("int8", "uint8"):
        floats = encoder.encode(TEXTS)
        ranges = np.stack([floats.min(axis=0), floats.max(axis=0)])
        np.save(tmp_path / "ranges.npy", ranges)
        options += ["--ranges", str(tmp_path / "ranges.npy")]
    expected = encoder.encode(TEXTS, precision=precision, ranges=ranges)
    for suffix in ("npy", "parquet", "jsonl"):
        assert encode(text_file, "-o", out / f"v.{suffix}", *options)[0] == 0
    array = np.load(out / "v.npy")
    assert array.dtype == stored
    np.testing.assert_array_equal(array, expected)
    column = pq.read_table(out / "v.parquet")["embedding"]
    assert (str(column.type.value_type), column.type.list_size) == (arrow, expected.shape[1])
    np.testing.assert_array_equal(np.array(column.to_pylist(), dtype=stored), expected)
    rows = read_json_lines((out / "v.jsonl").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], dtype=stored), expected)


def test_the_vector_options_are_those_of_encode(encode, encoder, text_file, out):
    half = encoder.dimension // 2
    options = [
        "--truncate-dim",
        half,
        "--normalize",
        "--prompt",
        "query: ",
        "--batch-size",
        2,
        "--threads",
        1,
    ]
    assert encode(text_file, "-o", out / "v.npy", "--artifact", "fp32-cpu", *options)[0] == 0
    other = Encoder.load(encoder.bundle.path, artifact="fp32-cpu", threads=1)
    expected = other.encode(
        TEXTS, truncate_dim=half, normalize_embeddings=True, prompt="query: ", batch_size=2
    )
    np.testing.assert_array_equal(np.load(out / "v.npy"), expected)


def test_a_prompt_of_its_own_in_each_object(encode, encoder, tmp_path, out):
    prompts = ["query: ", "", "Represent the sentence;\n"] * 3000  # more than a window
    texts = [f"text {i % 7}" for i in range(len(prompts))]
    rows = ({"text": text, "instruction": prompt} for text, prompt in zip(texts, prompts, strict=True))
    file = write_lines(tmp_path / "in.jsonl", *map(json.dumps, rows))
    assert encode(file, "--prompt-field", "instruction", "-o", out / "v.npy")[0] == 0
    np.testing.assert_array_equal(np.load(out / "v.npy"), encoder.encode(texts, prompt=prompts))


@pytest.mark.parametrize("size", ["", "k", "inf", "1e400", "nan", "many"])
def test_a_partition_size_that_is_no_size_is_told(tmp_path, out, capsys, size):
    with pytest.raises(SystemExit, match="2"):
        main(["b", "in.txt", "-o", str(out / "v.npy"), "--partition-size", size])
    assert f"--partition-size: {size!r} is no size; write bytes, or 64M" in capsys.readouterr().err


@pytest.mark.parametrize("line", ['{"text": "a"}', '{"text": "a", "instruction": 5}'])
def test_a_row_without_its_prompt_is_exit_4(encode, tmp_path, out, line):
    file = write_lines(tmp_path / "in.jsonl", '{"text": "good", "instruction": ""}', line)
    code, _, stderr = encode(file, "--prompt-field", "instruction", "-o", out / "v.npy")
    assert code == 4
    assert "line 2" in stderr
    assert "'instruction'" in stderr
    assert left_in(out) == []


def test_more_texts_than_a_window_and_a_row_group(encode, encoder, tmp_path, out):
    texts = [f"text {i}" for i in range(8192 + 10)]
    file = write_lines(tmp_path / "in.txt", *texts)
    for suffix in ("npy", "parquet"):
        assert encode(file, "-o", out / f"v.{suffix}")[0] == 0
    vectors = np.load(out / "v.npy")
    np.testing.assert_array_equal(vectors, encoder.encode(texts))
    assert pq.ParquetFile(out / "v.parquet").num_row_groups == 2
    column = pq.read_table(out / "v.parquet")["embedding"].combine_chunks()
    np.testing.assert_array_equal(column.flatten().to_numpy().reshape(vectors.shape), vectors)


@pytest.mark.parametrize("source", ["in.txt", "in.jsonl"])
def test_an_empty_input_gives_an_empty_output(encode, encoder, tmp_path, out, source):
    (tmp_path / source).write_bytes(b"")
    for suffix in ("npy", "parquet", "jsonl"):
        code, stdout, _ = encode(tmp_path / source, "-o", out / f"v.{suffix}", "--json")
        assert code == 0
        assert json.loads(stdout)["texts"] == json.loads(stdout)["texts_per_second"] == 0
    array = np.load(out / "v.npy")
    assert (array.shape, array.dtype) == ((0, encoder.dimension), np.float32)
    table = pq.read_table(out / "v.parquet")
    assert table.num_rows == 0
    assert table["embedding"].type.list_size == encoder.dimension
    assert (out / "v.jsonl").read_bytes() == b""


# --- standard input and output, summary


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_to_standard_output(encode, encoder, stdin, arguments):
    stdin("\n".join(TEXTS).encode())
    code, stdout, stderr = encode(*arguments, "-o", "-")
    assert code == 0
    assert stderr == ""
    rows = read_json_lines(stdout)
    assert [row["text"] for row in rows] == TEXTS
    found = np.array([row["embedding"] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(found, encoder.encode(TEXTS))


def test_json_lines_on_standard_input_need_the_format(encode, stdin):
    line = b'{"question": "a"}\n'
    stdin(line)
    code, stdout, _ = encode("-", "--format", "jsonl", "--field", "question", "-o", "-")
    assert code == 0
    assert list(json.loads(stdout)) == ["question", "embedding"]
    stdin(line)
    code, stdout, stderr = encode("-", "--field", "question", "-o", "-")
    assert (code, stdout) == (2, "")
    assert "--format jsonl" in stderr


def test_the_summary(encode, encoder, text_file, out):
    code, stdout, _ = encode(text_file, "-o", out / "v.npy", "--json", "--precision", "ubinary")
    assert code == 0
    summary = json.loads(stdout)
    assert set(summary) == {
        *("texts", "duplicates", "truncated", "skipped", "divided", "dimension", "dtype", "output"),
        *("seconds", "texts_per_second", "tokens_per_second", "padding_share", "partitions", "resumed"),
    }
    assert (summary["texts"], summary["dimension"]) == np.load(out / "v.npy").shape
    assert summary["dtype"] == "uint8"
    assert summary["output"] == str(out / "v.npy")


def test_the_summary_of_standard_output_is_on_standard_error(encode, text_file):
    code, stdout, stderr = encode(text_file, "-o", "-", "--json", "--no-progress")
    assert code == 0
    assert len(read_json_lines(stdout)) == len(TEXTS)
    assert json.loads(stderr)["output"] == "-"


def test_a_reader_that_goes_away_is_no_error(tiny_bundle, tmp_path):
    file = write_lines(tmp_path / "in.txt", *["text"] * 3000)
    arguments = [str(tiny_bundle), str(file), "-o", "-"]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_to_a_full_disk_is_exit_1(tiny_bundle, text_file):
    with open("/dev/full", "wb") as full:
        arguments = [str(tiny_bundle), str(text_file), "-o", "-"]
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"cannot be written" in done.stderr


# --- odd input


def test_crlf_blank_lines_and_other_separators_in_text(encode, encoder, tmp_path, out):
    (tmp_path / "in.txt").write_bytes("\ufeffone\r\n\r\nt\u2028w\x0bo\n\n last \r\n".encode())
    assert encode(tmp_path / "in.txt", "-o", out / "v.jsonl")[0] == 0
    rows = [json.loads(line) for line in (out / "v.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [row["text"] for row in rows] == ["one", "", "t\u2028w\x0bo", "", " last "]
    np.testing.assert_array_equal(np.float32(rows[1]["embedding"]), encoder.encode(["one", ""])[1])


def test_crlf_and_blank_lines_in_json_lines(encode, tmp_path, out):
    (tmp_path / "in.JSONL").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}')
    assert encode(tmp_path / "in.JSONL", "-o", out / "v.jsonl")[0] == 0
    rows = read_json_lines((out / "v.jsonl").read_text())
    assert [row["text"] for row in rows] == ["a", "b"]


def test_a_json_lines_file_can_be_read_as_text(encode, tmp_path, out):
    file = write_lines(tmp_path / "in.jsonl", '{"text": "a"}', "")
    assert encode(file, "--format", "text", "-o", out / "v.npy")[0] == 0
    assert len(np.load(out / "v.npy")) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "not valid JSON"),
        ('{"text": NaN}', "not valid JSON"),
        ('{"text": "a"} {"text": "b"}', "not valid JSON"),
        ('["a"]', "not a JSON object"),
        ('{"body": "a", "id": 1}', "'body', 'id'"),
        ("{}", "--field"),
        ('{"text": 1}', "not a string"),
        ('{"text": null}', "not a string"),
        ('{"text": 1e999}', "not a string"),
        ('{"text": "a\\ud800b"}', "lone surrogate"),
        ('{"text": "a", "id": "\\udc00"}', "lone surrogate"),
        ('{"text": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "parquet", "jsonl"])
def test_a_bad_row_is_exit_4_with_its_line_and_leaves_nothing(encode, tmp_path, out, line, problem, suffix):
    file = write_lines(tmp_path / "in.jsonl", '{"text": "good"}', "", line)
    code, stdout, stderr = encode(file, "-o", out / f"v.{suffix}")
    assert (code, stdout) == (4, "")
    assert f"{file}, line 3: " in stderr
    assert problem in stderr
    assert stderr.count("\n") == 1
    assert left_in(out) == []


@pytest.mark.parametrize("data", ["ok\n你好\n".encode("gb18030"), b"ok\n\xed\xa0\x80\n", b"ok\n\xff"])
def test_input_that_is_not_utf8_is_exit_4(encode, stdin, out, data):
    stdin(data)
    code, _, stderr = encode("-o", out / "v.npy")
    assert code == 4
    assert "standard input, line 2: not UTF-8" in stderr
    assert stderr.count("\n") == 1
    assert left_in(out) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing.txt", "cannot be read"), (".", "no file found"), ("*.txt", "no file found")],
)
def test_a_missing_input_is_exit_4(encode, tmp_path, out, name, problem):
    code, _, stderr = encode(tmp_path / name, "-o", out / "v.npy")
    assert code == 4
    assert str(tmp_path) in stderr
    assert problem in stderr
    assert stderr.count("\n") == 1
    assert left_in(out) == []


def test_input_that_fails_half_way_is_exit_4(encode, monkeypatch, out):
    class Failing(io.BytesIO):
        def readline(self, size=-1):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Failing(b"a\nb\n")))
    code, _, stderr = encode("-o", out / "v.npy")
    assert code == 4
    assert "standard input: cannot be read (Input/output error)" in stderr
    assert left_in(out) == []


# --- usage


@pytest.mark.parametrize("output", ["v", "v.txt", "v.npz", ".npy", "v.npy.gz"])
def test_an_unknown_suffix_is_exit_2_before_anything_is_loaded(text_file, out, capsys, output):
    assert main(["no-such-bundle", str(text_file), "-o", str(out / output)]) == 2
    assert ".npy, .parquet, .jsonl" in capsys.readouterr().err


def test_an_existing_output_needs_force(encode, encoder, text_file, out):
    target = out / "v.npy"
    target.write_bytes(b"precious")
    code, _, stderr = encode(text_file, "-o", target)
    assert code == 2
    assert "--force" in stderr
    assert target.read_bytes() == b"precious"
    assert encode(text_file, "-o", target, "--force")[0] == 0
    np.testing.assert_array_equal(np.load(target), encoder.encode(TEXTS))


def test_an_error_keeps_the_output_that_force_would_replace(encode, tmp_path, out):
    (out / "v.npy").write_bytes(b"precious")
    file = write_lines(tmp_path / "in.jsonl", '{"text": "good"}', "bad")
    assert encode(file, "-o", out / "v.npy", "--force")[0] == 4
    assert left_in(out) == ["v.npy"]
    assert (out / "v.npy").read_bytes() == b"precious"


def test_the_input_can_be_replaced(encode, out):
    file = write_lines(out / "v.jsonl", '{"text": "a"}')
    assert encode(file, "-o", file, "--force")[0] == 0
    assert list(json.loads(file.read_text())) == ["text", "embedding"]
    assert left_in(out) == ["v.jsonl"]


def test_an_output_in_no_folder_or_that_is_one_is_exit_2(encode, text_file, out):
    assert encode(text_file, "-o", out / "nowhere" / "v.npy")[0] == 2
    (out / "folder.npy").mkdir()
    assert encode(text_file, "-o", out / "folder.npy", "--force")[0] == 2
    assert left_in(out) == ["folder.npy"]


def test_int8_needs_ranges(encode, text_file, tmp_path, out, encoder):
    def with_ranges(array):
        np.save(tmp_path / "ranges.npy", array)
        arguments = ["-o", out / "v.npy", "--precision", "uint8", "--ranges", tmp_path / "ranges.npy"]
        return encode(text_file, *arguments)

    code, _, stderr = encode(text_file, "-o", out / "v.npy", "--precision", "int8")
    assert code == 2
    assert "--ranges FILE.npy" in stderr
    code, _, stderr = with_ranges(np.zeros((2, encoder.dimension + 1), dtype=np.float32))
    assert code == 2
    assert f"(2, {encoder.dimension})" in stderr
    assert with_ranges(np.full((2, encoder.dimension), np.nan, dtype=np.float32))[0] == 2
    assert with_ranges(np.array([{}], dtype=object))[0] == 2
    (tmp_path / "no.npy").write_bytes(b"")
    for name in ("no.npy", "missing.npy"):
        arguments = ["--precision", "int8", "--ranges", tmp_path / name]
        assert encode(text_file, "-o", out / "v.npy", *arguments)[0] == 2
    code, _, stderr = encode(text_file, "-o", out / "v.npy", "--ranges", tmp_path / "ranges.npy")
    assert code == 2
    assert left_in(out) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--truncate-dim", "0"],
        ["--truncate-dim", "1000000"],
        ["--batch-size", "0"],
        ["--threads", "0"],
        ["--prompt-name", "no-such-prompt"],
        ["--prompt-field", "of-a-text-file"],
        ["--format", "jsonl", "--prompt-field", "instruction", "--prompt", "query: "],
        ["--artifact", "no-such-artifact"],
        ["--precision", "int4"],
        ["--format", "xml"],
    ],
)
def test_options_that_cannot_be_are_exit_2(encode, text_file, out, arguments):
    assert encode(text_file, "-o", out / "v.npy", *arguments)[0] == 2
    assert left_in(out) == []


def test_a_bundle_that_is_none_is_exit_4(text_file, out, capsys):
    assert main([str(out), str(text_file), "-o", str(out / "v.npy")]) == 4
    assert "m3e-export" in capsys.readouterr().err
    assert left_in(out) == []


def test_parquet_without_pyarrow_is_exit_5(text_file, out, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert main(["no-such-bundle", str(text_file), "-o", str(out / "v.parquet")]) == 5
    assert "pip install 'm3e-runtime[parquet]'" in capsys.readouterr().err


def test_help_has_examples_and_exit_codes(encode):
    code, stdout, _ = encode("--help")
    assert code == 0
    assert "examples:" in stdout
    assert "exit codes:" in stdout


def test_importing_the_command_imports_no_optional_package():
    names = ["pyarrow", "torch", "transformers", "onnx", "m3e_runtime.gpu.tensorrt", "m3e_runtime.gpu.cuda"]
    code = f"import sys, m3e_corpora.cli; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- whole or not there


@pytest.mark.parametrize("suffix", ["npy", "parquet", "jsonl"])
def test_an_unexpected_error_leaves_nothing(encode, text_file, out, monkeypatch, suffix):
    def fail(self, *arguments, **options):
        assert left_in(out) == [f"v.{suffix}.parts"]
        raise RuntimeError("the engine broke")

    monkeypatch.setattr(Encoder, "run", fail)
    with pytest.raises(RuntimeError, match="the engine broke"):
        encode(text_file, "-o", out / f"v.{suffix}")
    assert left_in(out) == []


@pytest.mark.parametrize("suffix", ["npy", "parquet", "jsonl"])
def test_an_interrupt_while_encoding_leaves_nothing(encode, text_file, out, monkeypatch, suffix):
    def interrupt(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoder, "run", interrupt)
    code, _, stderr = encode(text_file, "-o", out / f"v.{suffix}")
    assert code == 130
    assert "interrupted" in stderr
    assert left_in(out) == []


@pytest.mark.parametrize("created", ["v.npy.parts", "_m3e", "parts"])
def test_an_interrupt_after_a_folder_is_created_leaves_nothing(encode, text_file, out, monkeypatch, created):
    mkdir = os.mkdir

    def interrupted(path, *arguments, **options):
        mkdir(path, *arguments, **options)
        if os.path.basename(path) == created:
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", interrupted)
    assert encode(text_file, "-o", out / "v.npy")[0] == 130
    assert left_in(out) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_ctrl_c_and_sigterm_leave_nothing(tiny_bundle, out, suffix, number, code):
    process = subprocess.Popen(
        [*COMMAND, str(tiny_bundle), "-o", str(out / f"v.{suffix}")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A background job has SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not left_in(out) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(left_in(out)) == 1
        process.send_signal(number)
        stderr = process.stderr.read()
    assert process.returncode == code
    assert stderr.count(b"\n") == 1
    assert left_in(out) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
@pytest.mark.parametrize("suffix", ["npy", "parquet", "jsonl"])
def test_a_full_disk_is_exit_1_and_leaves_nothing(tiny_bundle, tmp_path, out, suffix):
    import resource

    file = write_lines(tmp_path / "in.txt", *(f"text {i}" for i in range(2000)))
    done = subprocess.run(
        [*COMMAND, str(tiny_bundle), str(file), "-o", str(out / f"v.{suffix}")],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr.decode()
    assert b"cannot be written" in done.stderr
    assert left_in(out) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_output_has_the_usual_permissions(encode, text_file, out):
    assert encode(text_file, "-o", out / "v.npy")[0] == 0
    (out / "other").touch()
    assert (out / "v.npy").stat().st_mode == (out / "other").stat().st_mode


def test_only_a_few_windows_of_texts_are_held(encode, out, monkeypatch):
    held = []

    class Counting(io.BytesIO):
        lines = 0

        def readline(self, size=-1):
            self.lines += 1
            return super().readline(size)

    stream = Counting(b"".join(b"text %d\n" % number for number in range(500)))

    class Watching(json_lines.JsonLinesSink):
        written = 0

        def write(self, payload, vectors, others):
            held.append(stream.lines - Watching.written)
            Watching.written += len(vectors)
            super().write(payload, vectors, others)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    monkeypatch.setattr(sinks, "JsonLinesSink", Watching)
    monkeypatch.setattr(open_window, "WINDOW_ROWS", 10)
    monkeypatch.setattr(rows, "READ_ROWS", 5)
    assert encode("-o", out / "v.jsonl")[0] == 0
    assert Watching.written == 500
    # Those that wait for the engine, the one that is written, the one that is read.
    assert max(held) <= 10 * (pipeline.WINDOWS_AHEAD + 2) + 1
