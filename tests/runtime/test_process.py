"""What the process around an encoder does: signals, its end, fork, and copies in other processes."""

import copy
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from m3e_runtime import AsyncEncoder, Encoder
from m3e_runtime.backends import native
from m3e_runtime.backends.choice import CPU_BACKENDS
from m3e_runtime.integrations.embedder import TextEmbedder
from m3e_runtime.integrations.sentence_transformers import SentenceTransformer

if native.missing() is None:
    from m3e_runtime._native import NativeEncoder

TEXTS = ["今天天气很好", "short", "a longer text " * 9]

# The texts are longer than the model takes, of which the encoder warns once.
_LOAD = """
import logging, os, signal, sys, threading, time
logging.getLogger("m3e_runtime").setLevel(logging.ERROR)
from m3e_runtime import Encoder
encoder = Encoder.load(sys.argv[1], artifact=sys.argv[2], threads=2)
"""
_COMPUTE_FOR_EVER = """
def compute():
    while True:
        encoder.encode(["word " * 400] * 64)
"""
_IN_A_DAEMON_THREAD = """
threading.Thread(target=compute, daemon=True).start()
time.sleep(float(sys.argv[3]))
"""
_UNTIL_A_SIGNAL = """
import itertools
def repeat(signum, frame):
    global sent
    sent = time.monotonic()
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, repeat)
signal.setitimer(signal.ITIMER_REAL, 1.0)
texts = itertools.repeat("word " * 400, 1 << 20)
try:
    if sys.argv[3] == "list":
        encoder.encode(list(texts))
    else:
        for vector in encoder.encode_iter(texts):
            pass
except KeyboardInterrupt:
    print(time.monotonic() - sent)
assert encoder.encode("still usable").shape == (64,)
"""


@pytest.fixture(params=CPU_BACKENDS)
def artifact(request):
    if request.param == "native" and (reason := native.missing()):
        pytest.skip(reason)
    return "fp32-native" if request.param == "native" else "fp32-cpu"


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_the_interpreter_may_end_while_a_daemon_thread_computes(tiny_bundle, artifact, seconds):
    ended = run(_LOAD + _COMPUTE_FOR_EVER + _IN_A_DAEMON_THREAD, tiny_bundle, artifact, seconds)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_encoder_that_lives_to_the_end_is_no_leak(tiny_bundle, artifact):
    code = _LOAD + "import gc; encoder.itself = encoder; gc.freeze()"
    ended = run(code, tiny_bundle, artifact)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_main_thread_may_encode_in_its_last_moments(tiny_bundle, artifact):
    code = "import atexit, sys; atexit.register(lambda: print(encoder.encode(['word ' * 400] * 9).shape))"
    ended = run(code + _LOAD, tiny_bundle, artifact)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "(9, 64)", "")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
@pytest.mark.parametrize("texts", ["list", "stream"])
def test_a_signal_ends_a_large_encode_within_half_a_second(tiny_bundle, artifact, texts):
    ended = run(_LOAD + _UNTIL_A_SIGNAL, tiny_bundle, artifact, texts)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert float(ended.stdout) < 0.5


@pytest.fixture
def alarm():
    """Raises TimeoutError in the main thread a moment after it was set; holds when that was."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers that send signals")
    rung = []

    def ring(*_):
        rung.append(time.monotonic())
        raise TimeoutError

    def set_alarm():
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        return rung

    before = signal.signal(signal.SIGALRM, ring)
    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))
def test_a_call_of_the_native_engine_ends_with_a_signal(tiny_bundle, alarm):
    engine = NativeEncoder(tiny_bundle / "native" / "model_fp32_native.safetensors", 2)
    texts, rung = 1 << 14, []
    while not rung:  # until one call takes long enough
        ids, offsets = np.full(texts * 256, 7, np.int32), np.arange(texts + 1, dtype=np.int64) * 256
        vectors = np.full((texts, 64), np.nan, np.float32)
        rung = alarm()
        with suppress(TimeoutError):
            engine.encode(ids, offsets, vectors)
        texts *= 2
    assert np.isnan(vectors[-1]).all()  # it was not computed to the end


def test_a_run_of_onnx_runtime_ends_with_a_signal(tiny_bundle, alarm, monkeypatch):
    backend = Encoder.load(tiny_bundle, artifact="fp32-cpu")._backend
    token_ids = [np.full(100, 7, np.int32)] * 8
    expected = backend.run(token_ids)

    class Endless:
        def run(self, names, feed, options):
            while not options.terminate:
                time.sleep(0.01)
            raise RuntimeError("terminated")

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_session", Endless())
        rung = alarm()
        with pytest.raises(TimeoutError):
            backend.run(token_ids)
        assert rung
    np.testing.assert_array_equal(backend.run(token_ids), expected)


def test_errors_of_onnx_runtime_come_through(tiny_bundle):
    backend = Encoder.load(tiny_bundle, artifact="fp32-cpu")._backend
    with pytest.raises(Exception, match="indices element out of data bounds"):
        backend.run([np.full(100, 1_000_000, np.int32)] * 8)


def heed_interrupts():
    """A background job of a shell has them ignored, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="this system sends no SIGINT")
def test_an_interrupted_command_ends_soon(tiny_bundle, tmp_path, artifact):
    (tmp_path / "texts.txt").write_text("".join(f"{i} {'word ' * 400}\n" for i in range(100_000)))
    command = [sys.executable, "-m", "m3e_corpora.cli", tiny_bundle, tmp_path / "texts.txt",
               "-o", tmp_path / "vectors.npy", "--artifact", artifact]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts) as running:
        time.sleep(4)
        running.send_signal(signal.SIGINT)
        _, complaint = running.communicate(timeout=60)  # to the end it would take minutes
    assert (running.returncode, "Traceback" in complaint) == (130, False)


_FORK = """
import json, warnings
warnings.simplefilter("ignore")  # of CPython: a process with threads forks
texts = json.loads(sys.argv[3])
expected = encoder.encode(texts)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if abs(encoder.encode(texts) - expected).max() < 1e-6 else 1)
assert (encoder.encode(texts) == expected).all()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("parallel", ["true", "false", ""])
def test_a_forked_child_encodes_what_its_parent_does(tiny_bundle, artifact, parallel):
    texts = json.dumps([f"{'word ' * n} {n}" for n in range(200)])
    ended = run(_LOAD + _FORK, tiny_bundle, artifact, texts, TOKENIZERS_PARALLELISM=parallel)
    assert ended.returncode == 0, ended.stderr


def test_pickles_load_the_bundle_again(tiny_bundle, artifact, monkeypatch, tmp_path):
    encoder = Encoder.load(os.path.relpath(tiny_bundle), artifact=artifact, threads=1, verify=False)
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 1000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickled)
    assert again.info | {"bundle": ""} == encoder.info | {"bundle": ""}
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_a_process_that_was_spawned_gets_its_own(tiny_bundle, artifact):
    encoder = Encoder.load(tiny_bundle, artifact=artifact, threads=1)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(encoder.encode, TEXTS).result()
    np.testing.assert_array_equal(found, encoder.encode(TEXTS))


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_of_the_drop_in_are_apart(tiny_bundle, duplicate):
    model = SentenceTransformer(tiny_bundle, prompts={"query": "q: "}, truncate_dim=8)
    model.max_seq_length = 12
    again = duplicate(model)
    np.testing.assert_array_equal(again.encode_query(TEXTS), model.encode_query(TEXTS))
    assert (again.max_seq_length, again.truncate_dim, again.prompts["query"]) == (12, 8, "q: ")
    again.truncate_dim = 4
    assert (model.encode("a").shape, again.encode("a").shape) == ((8,), (4,))
    again.max_seq_length = 5
    assert model.max_seq_length == 12


def test_copies_share_the_engine(tiny_bundle):
    encoder = Encoder.load(tiny_bundle)
    for same in (copy.copy(encoder), copy.deepcopy({"model": encoder})["model"]):
        assert same._backend is encoder._backend
        np.testing.assert_array_equal(same.encode(TEXTS), encoder.encode(TEXTS))


def test_an_async_encoder_says_that_it_cannot_be_copied(tiny_bundle):
    service = AsyncEncoder(Encoder.load(tiny_bundle))
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pass its `encoder`"):
            duplicate(service)


def test_what_is_shown_says_what_it_is(tiny_bundle):
    encoder = Encoder.load(tiny_bundle, artifact="fp32-cpu", threads=1)
    shown = f"<Encoder {str(tiny_bundle)!r}: fp32-cpu on cpu, 1 threads, 64 dimensions>"
    assert repr(encoder) == shown
    assert repr(AsyncEncoder(encoder)) == f"<AsyncEncoder of {shown}, 0 texts waiting>"
    model = SentenceTransformer(tiny_bundle, artifact="fp32-cpu", threads=1)
    assert repr(model) == f"SentenceTransformer({shown})"
    embedder = TextEmbedder(tiny_bundle, threads=2)
    assert repr(embedder) == f"TextEmbedder(bundle={str(tiny_bundle)!r}, threads=2)"
