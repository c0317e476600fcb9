"""The executable m3e: built here with CMake, or the one that ``M3E_COMMAND`` names."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from classifier_weights import make_classifier_bundle
from m3e_runtime import Encoder, Reranker
from m3e_runtime.backends import native
from m3e_runtime.outputs import OUTPUT_PRECISIONS
from synthetic import read_json, write_json

_TREE = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    if made_before := os.environ.get("M3E_COMMAND"):
        return made_before
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}, or M3E_COMMAND")
    build = tmp_path_factory.mktemp("m3e")
    for step in (["-S", _TREE, "-B", build], ["--build", build, "--target", "m3e_command"]):
        subprocess.run(["cmake", *map(str, step)], check=True, capture_output=True)
    return str(next(build.rglob("cli/m3e*")))


@pytest.fixture
def m3e(command):
    def run(*arguments, stdin="", code=0, **options):
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [command, *map(str, arguments)], input=given, capture_output=True, check=False, **options
        )
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode() if code == 0 else done.stderr.decode()

    return run


@pytest.fixture(scope="module")
def lines(texts):
    """Texts that are a line each."""
    return [text for text in texts if not set(text) & set("\n\r")]


@pytest.fixture(scope="module")
def python(tiny_bundle):
    return Encoder.load(tiny_bundle, artifact="int8-native")


def rows(output, dtype=np.float32):
    return np.array([json.loads(line)["embedding"] for line in output.splitlines()], dtype=dtype)


def test_lines_become_vectors(m3e, tiny_bundle, python, lines):
    expected = python.encode(lines)
    unix, windows = "\n".join(lines), "\r\n".join(lines)
    for text in (unix, unix + "\n", windows + "\r\n", "\ufeff" + unix):
        np.testing.assert_array_equal(rows(m3e("embed", tiny_bundle, stdin=text)), expected)


@pytest.mark.parametrize("precision", OUTPUT_PRECISIONS)
@pytest.mark.parametrize("output", ["jsonl", "npy", "raw"])
def test_formats_hold_what_python_gives(m3e, tiny_bundle, python, lines, tmp_path, precision, output):
    options = {"precision": precision, "normalize_embeddings": True, "truncate_dim": 20}
    arguments = ["--precision", precision, "--normalize", "--truncate-dim=20", "--threads", "2"]
    if precision in ("int8", "uint8"):
        ranges = np.sort(np.random.default_rng(0).normal(size=(2, 20)), axis=0).astype(np.float32)
        np.save(tmp_path / "ranges.npy", ranges)
        (tmp_path / "ranges.raw").write_bytes(ranges.tobytes())
        arguments += ["--ranges", tmp_path / ("ranges.npy" if output == "npy" else "ranges.raw")]
        options["ranges"] = ranges
    expected = python.encode(lines, **options)
    file = tmp_path / f"vectors.{output}"
    m3e("embed", tiny_bundle, "--output", output, "-o", file, *arguments, stdin="\n".join(lines))
    if output == "npy":
        found = np.load(file)
        assert found.dtype == expected.dtype
    elif output == "raw":
        found = np.frombuffer(file.read_bytes(), expected.dtype).reshape(expected.shape)
    else:
        found = rows(file.read_text(), expected.dtype)
    np.testing.assert_array_equal(found, expected)
    assert [each for each in tmp_path.iterdir() if "partial" in each.name] == []


def test_floats_survive_their_text(m3e, tiny_bundle, python, lines):
    """Numbers of every size: scaled by a range of one step they are what JSON holds."""
    vectors = python.encode(lines, truncate_dim=64)
    found = rows(m3e("embed", tiny_bundle, stdin="\n".join(lines)), np.float64)
    assert found.astype(np.float32).tobytes() == vectors.tobytes()
    assert max(len(number) for number in str(found.tolist()).split(",")) < 20


def test_json_lines(m3e, tiny_bundle, python, tmp_path):
    objects = [{"title": "今天天气很好", "id": 1}, {"title": "a\nb \U0001f600"}, {"title": ""}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n\n".join(json.dumps(each) for each in objects), encoding="utf-8")
    expected = python.encode([each["title"] for each in objects])
    np.testing.assert_array_equal(rows(m3e("embed", tiny_bundle, file, "--field", "title")), expected)
    assert "line 1: no field 'text'" in m3e("embed", tiny_bundle, file, code=1)
    file.write_text('{"text": "x"}\n{"text": 5}\n')
    assert "line 2" in m3e("embed", tiny_bundle, file, code=1)
    file.write_text('{"text": "x"}\n{"text": \n')
    assert "line 2: not valid JSON" in m3e("embed", tiny_bundle, file, code=1)


def test_prompts(m3e, tiny_bundle, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    write_json(bundle / "manifest.json", read_json(bundle / "manifest.json") | {"prompts": {"query": "how "}})
    python = Encoder.load(bundle, artifact="int8-native")
    for arguments, options in [
        (["--prompt-name", "query"], {"prompt_name": "query"}),
        (["--prompt", "请问："], {"prompt": "请问："}),
    ]:
        found = rows(m3e("embed", bundle, *arguments, stdin="天气"))
        np.testing.assert_array_equal(found, python.encode(["天气"], **options))
    assert "it has: query" in m3e("embed", bundle, "--prompt-name", "passage", code=2)


_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts other units elsewhere")
def test_long_input_needs_no_more_memory(command, tiny_bundle, tmp_path):
    """A hundred thousand vectors of 256 bytes are 25 MB, and their texts are 2 MB."""
    peaks = []
    for count in (10_000, 100_000):
        (tmp_path / "long.txt").write_text("今天天气很好\n" * count, encoding="utf-8")
        arguments = ["embed", tiny_bundle, tmp_path / "long.txt", "--output", "raw", "-o", tmp_path / "out"]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, command, *map(str, arguments)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (tmp_path / "out").stat().st_size == count * 256
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 8_000  # kilobytes


def test_lines_of_a_pipe_are_answered_as_they_come(command, tiny_bundle, python):
    with subprocess.Popen(
        [command, "embed", tiny_bundle], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for text in ("今天", "天气"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            np.testing.assert_array_equal(rows(process.stdout.readline().decode())[0], python.encode(text))
        process.stdin.close()


def test_what_was_cut_off(m3e, tiny_bundle):
    output = m3e("embed", tiny_bundle, "--cut", stdin="the\n" + "the " * 600)
    assert [json.loads(line)["cut"] for line in output.splitlines()] == [0, 90]


def test_a_line_that_is_not_utf8_is_named(m3e, tiny_bundle):
    assert "line 2 is not UTF-8" in m3e("embed", tiny_bundle, stdin=b"good\nb\xff\n", code=1)


def test_a_closed_pipe_is_quiet(command, tiny_bundle):
    with subprocess.Popen(
        [command, "embed", tiny_bundle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        try:
            process.stdin.write("今天\n".encode() * 100_000)
            process.stdin.close()
        except BrokenPipeError:
            process.stdin = None
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_file(command, tiny_bundle, out, number):
    arguments = [command, "embed", tiny_bundle, "-o", out / "vectors.jsonl"]
    with subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A background job has SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        process.stdin.write("今天\n".encode())
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not any(out.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [each.suffix for each in out.iterdir()] == [".partial"]
        process.send_signal(number)
        assert process.wait(timeout=30) == -number
        process.stdin = None
    assert list(out.iterdir()) == []


def test_an_error_leaves_the_old_file(m3e, tiny_bundle, out):
    (out / "vectors.jsonl").write_text("old")
    m3e("embed", tiny_bundle, "-o", out / "vectors.jsonl", stdin=b"text\n\xff\n", code=1)
    assert (out / "vectors.jsonl").read_text() == "old"
    assert len(list(out.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(command, tiny_bundle):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [command, "embed", tiny_bundle], input=b"text", stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"standard output cannot be written" in done.stderr


def test_similarity(m3e, tiny_bundle, python):
    texts = ["今天天气很好", "天气不错", "model text"]
    output = [line.split("\t") for line in m3e("similarity", tiny_bundle, *texts).splitlines()]
    assert [text for _, text in output] == texts[1:]
    vectors = python.encode(texts)
    expected = python.similarity(vectors[:1], vectors[1:])[0]
    np.testing.assert_allclose([float(score) for score, _ in output], expected, atol=1e-5)


def test_info(m3e, minilm_bundle):
    found = json.loads(m3e("info", minilm_bundle, "--json"))
    assert found["dimension"] == 384
    assert found["artifact"] == "int8-native"
    shown = m3e("info", minilm_bundle)
    for word in ("384", "int8-native", "fp32-cpu", "another engine", "cosine"):
        assert word in shown


def test_check(m3e, minilm_bundle, tmp_path):
    assert "fp16-native: ok" in m3e("check", minilm_bundle)
    bundle = shutil.copytree(minilm_bundle, tmp_path / "bundle")
    (bundle / "config.json").write_text("{}")
    assert "config.json: 2 bytes" in m3e("check", bundle, code=1)


def test_check_compares_golden_vectors(command, minilm_bundle, tmp_path):
    bundle = shutil.copytree(minilm_bundle, tmp_path / "bundle")
    manifest = read_json(bundle / "manifest.json")
    manifest["golden"]["texts"].reverse()
    write_json(bundle / "manifest.json", manifest)
    done = subprocess.run([command, "check", bundle, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    ran = {each["name"]: each["passed"] for each in found["artifacts"] if each["ran"]}
    assert ran == {"fp32-native": False, "fp16-native": False, "int8-native": False}
    assert not found["passed"]


def test_tokenize(m3e, tiny_bundle, python, lines):
    output = [json.loads(line) for line in m3e("tokenize", tiny_bundle, stdin="\n".join(lines)).splitlines()]
    ids, cut = python.tokenizer.encode_batch_marked(lines)
    assert [each["ids"] for each in output] == [each.tolist() for each in ids]
    assert [bool(each["cut"]) for each in output] == cut


def test_bench(m3e, tiny_bundle):
    found = json.loads(m3e("bench", tiny_bundle, "--seconds", "1", "--threads", "1"))
    assert found["artifact"] == "int8-native"
    assert found["threads"] == 1
    assert min(found["open_ms"], found["short_text_median_ms"], found["tokens_per_second"]) > 0


@pytest.fixture(scope="module")
def reranker_bundle(tiny_bundle, tmp_path_factory):
    return make_classifier_bundle(tiny_bundle, tmp_path_factory.mktemp("reranker") / "bundle")


def test_rerank_sorts_passages(m3e, reranker_bundle, lines, tmp_path):
    reranker = Reranker.load(reranker_bundle, artifact="int8-native")
    passages = "\n".join(lines)
    expected = reranker.rank("天气 card", lines, return_documents=True)
    shown = m3e("rerank", reranker_bundle, "天气 card", stdin=passages).splitlines()
    assert [line.split("\t", 1)[1] for line in shown] == [each["text"] for each in expected]
    best = m3e("rerank", reranker_bundle, "天气 card", "--json", "--top-k", "3", stdin=passages)
    found = [json.loads(line) for line in best.splitlines()]
    assert [{**each, "score": np.float32(each["score"])} for each in found] == expected[:3]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"title": line}) + "\n" for line in lines), encoding="utf-8")
    arguments = [file, "--field=title", "--activation", "identity", "--prompt", "search: ", "--json"]
    first = json.loads(m3e("rerank", reranker_bundle, "天气 card", *arguments).splitlines()[0])
    options = {"prompt": "search: ", "activation_fn": "identity"}
    best = reranker.rank("天气 card", lines, top_k=1, return_documents=True, **options)[0]
    assert {**first, "score": np.float32(first["score"])} == best
    assert m3e("rerank", reranker_bundle, "天气 card", stdin="") == ""


def test_a_bundle_of_the_other_kind_is_refused(m3e, reranker_bundle, tiny_bundle, tmp_path):
    assert "gives vectors" in m3e("rerank", tiny_bundle, "query", stdin="a", code=2)
    assert "gives scores" in m3e("embed", reranker_bundle, stdin="a", code=2)
    classifier = make_classifier_bundle(tiny_bundle, tmp_path / "classifier", labels=3)
    assert "3 labels" in m3e("rerank", classifier, "query", stdin="a", code=1)


def test_info_and_check_of_a_reranker(m3e, reranker_bundle):
    shown = m3e("info", reranker_bundle)
    assert "labels:        label 0\nactivation:    sigmoid\n" in shown
    assert "int8-native: int8" in shown
    assert "largest difference 5.0e-02" in shown
    assert "int8-native: ok, largest difference of a score" in m3e("check", reranker_bundle)
    checked = json.loads(m3e("check", reranker_bundle, "--json"))
    assert 0 < checked["artifacts"][1]["largest_difference"] < 0.06


def test_help_of_rerank(m3e):
    shown = m3e("rerank", "--help")
    assert "usage: m3e rerank BUNDLE QUERY [FILE]" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("name", ["embed", "similarity", "info", "check", "tokenize", "bench"])
def test_help_has_examples_and_exit_codes(m3e, name):
    assert name in m3e("--help")
    shown = m3e(name, "--help")
    for word in (f"usage: m3e {name} BUNDLE", "examples:", f"m3e {name} m3e-small-int8", "exit codes: 0"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["encode"],
        ["embed"],
        ["embed", "BUNDLE", "FILE", "more"],
        ["embed", "BUNDLE", "--nothing"],
        ["embed", "BUNDLE", "--prompt"],
        ["embed", "BUNDLE", "--normalize=yes"],
        ["embed", "BUNDLE", "--output", "csv"],
        ["embed", "BUNDLE", "--output", "npy"],
        ["embed", "BUNDLE", "--precision", "int4"],
        ["embed", "BUNDLE", "--truncate-dim", "0"],
        ["embed", "BUNDLE", "--truncate-dim", "5x"],
        ["embed", "BUNDLE", "--truncate-dim", "65"],
        ["embed", "BUNDLE", "--threads", "0"],
        ["embed", "BUNDLE", "--threads", "99999999999999"],
        ["embed", "BUNDLE", "--precision", "int8"],
        ["embed", "BUNDLE", "--artifact", "fp64"],
        ["embed", "BUNDLE", "--ranges", "x.npy"],
        ["similarity", "BUNDLE", "one"],
        ["rerank", "BUNDLE"],
        ["rerank", "BUNDLE", "query", "--top-k", "0"],
        ["rerank", "BUNDLE", "query", "--activation", "relu"],
        ["info", "BUNDLE", "BUNDLE"],
    ],
)
def test_wrong_usage_is_exit_code_2(m3e, tiny_bundle, arguments):
    given = [tiny_bundle if each == "BUNDLE" else each for each in arguments]
    assert m3e(*given, code=2).startswith("m3e: ")


def test_failures_are_exit_code_1(m3e, tiny_bundle, tmp_path):
    assert "m3e-export" in m3e("info", tmp_path, code=1)
    assert "none.txt" in m3e("embed", tiny_bundle, tmp_path / "none.txt", code=1)
    assert "no such" in m3e("embed", tmp_path / "none", code=1)
    (tmp_path / "ranges").write_bytes(b"short")
    arguments = ["--precision", "int8", "--ranges", tmp_path / "ranges"]
    assert "not float32 [2, 64]" in m3e("embed", tiny_bundle, *arguments, code=1)
    assert "cannot" in m3e("embed", tiny_bundle, "-o", tmp_path / "no" / "file", code=1)
