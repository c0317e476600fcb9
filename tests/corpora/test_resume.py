"""What was killed, interrupted or failed goes on: every row exactly once, the bytes of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from corpus_files import files_of, write_json_lines, write_text
from m3e_corpora.cli import main
from m3e_corpora.errors import ResumeError, UnreadableInputError
from m3e_corpora.executors import merge
from m3e_corpora.job import folder as job_folder
from m3e_corpora.job.lock import locked
from m3e_runtime import Encoder
from m3e_runtime.errors import OptionError

OUTPUTS = ["v/", "v.npy", "v.jsonl", "v.parquet"]
PARTITION = 600  # bytes: some thirty partitions


@pytest.fixture
def source(tmp_path, corpus):
    return write_json_lines(
        tmp_path / "in.jsonl", [{"id": number, "text": text} for number, text in enumerate(corpus)]
    )


def options_for(output):
    keep = {} if output.endswith(".npy") else {"keep": ("id",)}
    return {**keep, "partition_bytes": PARTITION}


def parts_in(folder):
    """Finished parts, and what would change if one was written again."""
    records = sorted(folder.glob("_m3e/parts/*.json"))
    parts = [next(folder.glob(f"part-{int(record.stem):05}.*"), None) for record in records]
    return {part.name: (part.stat().st_ino, part.stat().st_mtime_ns) for part in parts if part}


class Process:
    """``m3e-encode … --resume`` in a process of its own."""

    def __init__(self, bundle, source, output, *more):
        arguments = [str(bundle), str(source), "-o", str(output), "--partition-size", str(PARTITION)]
        arguments += [] if str(output).endswith(".npy") else ["--keep", "id"]
        command = [sys.executable, "-m", "m3e_corpora.cli", *arguments, "--resume", *more]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # A background job has SIGINT ignored, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def wait_for_parts(self, folder, count):
        deadline = time.monotonic() + 60
        while len(parts_in(folder)) < count and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        stderr = self.process.communicate(timeout=120)[1].decode()
        return self.process.returncode, stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("output", ["v/", "v.npy"])
def test_killed_at_random_moments_it_goes_on_and_gives_the_same_bytes(
    encode, tiny_bundle, source, out, tmp_path, output
):
    encode(source, f"{tmp_path}/{output}", **options_for(output))
    chance = random.Random(output)
    folder = out / "v" if output == "v/" else out / f"{output}.parts"
    kept, code = {}, None
    for _ in range(4):
        run = Process(tiny_bundle, source, f"{out}/{output}")
        run.wait_for_parts(folder, len(kept) + chance.randint(0, 6))
        time.sleep(chance.random() * 0.02)
        code, _ = run.end(signal.SIGKILL)
        if code == 0:  # it was faster
            break
        now = parts_in(folder)
        assert {name: now[name] for name in kept} == kept  # nothing was done again
        kept = now
    assert kept
    if code != 0:
        assert Process(tiny_bundle, source, f"{out}/{output}").end()[0] == 0
    expected = files_of(tmp_path / "v") if output == "v/" else {output: (tmp_path / output).read_bytes()}
    assert files_of(out / "v" if output == "v/" else out) == expected


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_what_is_kept_and_how_to_go_on(
    encode, tiny_bundle, source, out, tmp_path, number, expected
):
    encode(source, tmp_path / "v.npy", **options_for("v.npy"))
    run = Process(tiny_bundle, source, out / "v.npy")
    run.wait_for_parts(out / "v.npy.parts", 2)
    code, stderr = run.end(number)
    assert code == expected
    assert "partitions are kept in" in stderr
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    summary = encode(source, out / "v.npy", resume=True)
    assert 2 <= summary.resumed < summary.partitions
    assert files_of(out) == {"v.npy": (tmp_path / "v.npy").read_bytes()}


@pytest.fixture
def failing(monkeypatch):
    """Makes the engine break after some runs; returns how to mend it."""
    real = Encoder.run

    def fail_after(runs):
        left = iter(range(runs))

        def run(self, *arguments):
            if next(left, None) is None:
                raise RuntimeError("the engine broke")
            return real(self, *arguments)

        monkeypatch.setattr(Encoder, "run", run)
        return lambda: monkeypatch.setattr(Encoder, "run", real)

    return fail_after


@pytest.mark.parametrize("output", OUTPUTS)
def test_after_an_error_it_goes_on_with_what_is_missing(encode, source, out, tmp_path, failing, output):
    encode(source, f"{tmp_path}/{output}", **options_for(output))
    total = 0
    for _ in range(2):
        mend = failing(8)
        with pytest.raises(RuntimeError, match="the engine broke"):
            encode(source, f"{out}/{output}", resume=True, **options_for(output))
        mend()
        folder = out / ("v" if output == "v/" else f"{output}.parts")
        assert len(parts_in(folder)) > total
        total = len(parts_in(folder))
        assert not list(folder.rglob(".m3e-*"))
    summary = encode(source, f"{out}/{output}", resume=True, **options_for(output))
    assert summary.resumed == total
    expected = files_of(tmp_path / "v") if output == "v/" else {output: (tmp_path / output).read_bytes()}
    assert files_of(out / "v" if output == "v/" else out) == expected


def test_a_part_that_is_not_what_was_recorded_is_done_again(encode, source, out, tmp_path):
    encode(source, f"{tmp_path}/v/", **options_for("v/"))
    encode(source, f"{out}/v/", **options_for("v/"))
    (out / "v" / "part-00003.parquet").write_bytes(b"cut off")
    (out / "v" / "part-00005.parquet").unlink()
    (out / "v" / "_m3e" / "parts" / "7.json").write_text("{")
    summary = encode(source, f"{out}/v/", resume=True, **options_for("v/"))
    assert summary.resumed == summary.partitions - 3
    assert files_of(out / "v") == files_of(tmp_path / "v")


def test_stopped_while_joining_the_parts_it_joins_them_again(encode, source, out, tmp_path, monkeypatch):
    encode(source, tmp_path / "v.npy", **options_for("v.npy"))

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merge.shutil, "copyfileobj", stop)
        with pytest.raises(KeyboardInterrupt):
            encode(source, out / "v.npy", **options_for("v.npy"))
    assert [path.name for path in out.iterdir()] == ["v.npy.parts"]
    summary = encode(source, out / "v.npy", resume=True, **options_for("v.npy"))
    assert summary.resumed == summary.partitions
    assert files_of(out) == {"v.npy": (tmp_path / "v.npy").read_bytes()}


def test_a_complete_folder_has_nothing_left_to_do(encode, source, out):
    encode(source, f"{out}/v/", **options_for("v/"))
    before = files_of(out)
    summary = encode(source, f"{out}/v/", resume=True, **options_for("v/"))
    assert (summary.resumed, summary.tokens_per_second) == (summary.partitions, 0)
    assert files_of(out) == before


@pytest.fixture
def begun(encode, source, out, failing):
    """A folder with some parts."""
    mend = failing(8)
    with pytest.raises(RuntimeError):
        encode(source, f"{out}/v/", **options_for("v/"))
    mend()
    return out / "v"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precision": "float16"}, "vectors.precision was 'float32' and is 'float16'"),
        ({"truncate_dim": 32}, "vectors.dimension was 64 and is 32"),
        ({"normalize": True}, "vectors.normalized"),
        ({"prompt": "query: "}, "prompt was '' and is 'query: '"),
        ({"keep": ()}, "columns.keep"),
        ({"drop_text": True}, "columns.drop_text"),
        ({"over_long": "skip"}, "over_long"),
        ({"artifact": "fp32-cpu"}, "bundle.artifact"),
    ],
)
def test_other_options_are_refused(encode, source, begun, change, named):
    before = files_of(begun)
    with pytest.raises(ResumeError, match=named):
        encode(source, f"{begun}/", resume=True, **{**options_for("v/"), **change})
    assert files_of(begun) == before


def test_an_input_that_has_changed_is_refused(encode, source, begun):
    with source.open("a") as stream:
        stream.write('{"id": 1, "text": "more"}\n')
    with pytest.raises(ResumeError, match=r"the input .*in\.jsonl has changed"):
        encode(source, f"{begun}/", resume=True, **options_for("v/"))
    other = write_text(source.with_name("other.txt"), ["one"])
    with pytest.raises(ResumeError, match="there were 1 input files and are 2"):
        encode([source, other], f"{begun}/", resume=True, **options_for("v/"))


def test_another_bundle_is_refused(tiny_bundle, source, begun, tmp_path, capsys):
    import shutil

    bundle = shutil.copytree(tiny_bundle, tmp_path / "other")
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"licence"', b' "licence"'))
    arguments = [str(bundle), str(source), "-o", f"{begun}/", "--keep", "id", "--resume"]
    assert main(arguments) == 2
    assert "bundle.manifest_sha256" in capsys.readouterr().err


def test_what_does_not_change_the_bytes_may_change(encode, source, begun, tmp_path):
    encode(source, f"{tmp_path}/v/", **options_for("v/"))
    encode(
        source, f"{begun}/", resume=True, keep=("id",), partition_bytes=1 << 20, threads=1, on_error="skip"
    )
    assert files_of(begun) == files_of(tmp_path / "v")


def test_without_resume_what_was_begun_is_neither_used_nor_lost(encode, source, begun):
    before = files_of(begun)
    with pytest.raises(OptionError, match="--resume"):
        encode(source, f"{begun}/", **options_for("v/"))
    assert files_of(begun) == before
    with pytest.raises(OptionError, match="use one of them"):
        encode(source, f"{begun}/", resume=True, force=True)


def test_force_begins_anew(encode, encoder, corpus, source, begun, out):
    summary = encode(source, f"{begun}/", force=True, partition_bytes=5000, precision="float16")
    assert summary.resumed == 0
    assert len(list(begun.glob("part-*"))) == summary.partitions < 10


def test_resume_without_anything_begun_begins(encode, source, out):
    assert encode(source, out / "v.npy", resume=True).resumed == 0


def test_a_file_that_is_complete_is_not_gone_on_with(encode, source, out):
    encode(source, out / "v.npy")
    with pytest.raises(OptionError, match="--force"):
        encode(source, out / "v.npy", resume=True)


def test_a_folder_with_other_things_in_it_is_left_alone(encode, source, out):
    (out / "v").mkdir()
    (out / "v" / "precious").touch()
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(OptionError, match="not from an encoding"):
            encode(source, f"{out}/v/", **options)
    assert list(files_of(out)) == ["v/precious"]


def test_two_processes_do_not_write_one_output(encode, source, begun):
    before = files_of(begun)
    with locked(begun / "_m3e" / "lock"):
        for options in ({"resume": True}, {"force": True}):
            with pytest.raises(ResumeError, match="another process"):
                encode(source, f"{begun}/", **options, **options_for("v/"))
    assert files_of(begun) == before


def test_an_input_that_changes_under_way_is_noticed(encode, corpus, out, tmp_path, monkeypatch):
    file = write_text(tmp_path / "in.txt", corpus)
    begin = job_folder.JobFolder.begin

    def change(*arguments):
        write_text(file, [*corpus, "one more"])
        return begin(*arguments)

    monkeypatch.setattr(job_folder.JobFolder, "begin", staticmethod(change))
    with pytest.raises(UnreadableInputError, match="has changed since the job began"):
        encode(file, out / "v.npy")
    assert list(out.iterdir()) == []


def test_standard_input_cannot_be_gone_on_with(encode, out):
    with pytest.raises(OptionError, match="standard input"):
        encode("-", out / "v.npy", resume=True)


def test_the_vectors_are_encodes(encode, encoder, corpus, source, begun):
    from corpus_files import read_vectors

    encode(source, f"{begun}/", resume=True, **options_for("v/"))
    np.testing.assert_array_equal(read_vectors(begun), encoder.encode(corpus))


def test_a_resumed_job_counts_what_all_runs_did(encode, tmp_path, out, monkeypatch):
    rows = [{"text": text} for text in ["same", "same", "字" * 600, "other", "other", "same"]]
    file = write_json_lines(tmp_path / "in.jsonl", [*rows, {"text": None}] * 20)
    options = {"partition_bytes": 3000, "on_error": "skip"}
    whole = encode(file, f"{out}/w/", **options)
    done = []
    record = job_folder.JobFolder.record

    def stop_at_the_third(self, *arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(record(self, *arguments))
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(job_folder.JobFolder, "record", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            encode(file, f"{out}/v/", **options)
    resumed = encode(file, f"{out}/v/", resume=True, **options)
    assert (resumed.resumed, resumed.partitions) == (2, whole.partitions)
    assert whole.duplicates > sum(each.counts.duplicates for each in done) > 0
    counted = ("texts", "duplicates", "truncated", "skipped")
    assert [getattr(resumed, name) for name in counted] == [getattr(whole, name) for name in counted]
