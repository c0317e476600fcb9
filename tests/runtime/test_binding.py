"""The binding of the native engine: arrays are used as they are, or refused."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from m3e_runtime.backends import native

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module")
def file(tiny_bundle):
    return tiny_bundle / "native" / "model_fp32_native.safetensors"


@pytest.fixture(scope="module")
def engine(file):
    from m3e_runtime._native import NativeEncoder

    return NativeEncoder(file, 2)


@pytest.fixture
def arrays():
    return {
        "ids": np.array([101, 7, 102, 101, 102], np.int32),
        "offsets": np.array([0, 3, 5], np.int64),
        "vectors": np.full((2, 64), np.nan, np.float32),
        "prompt_lengths": np.array([1, 1], np.int64),
        "states": np.full((5, 64), np.nan, np.float32),
        "token_types": np.zeros(5, np.int32),
    }


def test_vectors_are_written_where_they_are_wanted(engine, arrays):
    arrays["ids"].flags.writeable = False
    assert engine.encode(**arrays) is None
    assert np.isfinite(arrays["vectors"]).all()
    assert np.isfinite(arrays["states"]).all()


@pytest.mark.parametrize("shape", [(4, 64), (6, 64), (5, 63), (0, 64)])
def test_states_of_another_shape_are_refused(engine, arrays, shape):
    arrays["states"] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match="states must be"):
        engine.encode(**arrays)


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ids", lambda a: a.astype(np.int64)),
        ("ids", lambda a: a.astype(np.int64) + 2**32),
        ("ids", lambda a: a.astype(np.uint32)),
        ("ids", lambda a: a.astype(np.float32)),
        ("ids", lambda a: a.astype(">i4")),
        ("ids", lambda a: np.repeat(a, 2)[::2]),
        ("ids", lambda a: a[None]),
        ("ids", lambda a: a.tolist()),
        ("offsets", lambda a: a.astype(np.int32)),
        ("offsets", lambda a: a.astype(np.float64)),
        ("vectors", lambda a: a.astype(np.float64)),
        ("vectors", lambda a: np.zeros((2, 128), np.float32)[:, ::2]),
        ("vectors", lambda a: np.asfortranarray(a)),
        ("vectors", read_only),
        ("vectors", lambda a: a.ravel()),
        ("prompt_lengths", lambda a: a.astype(np.int32)),
        ("prompt_lengths", lambda a: a.astype(np.float64)),
        ("states", lambda a: a.astype(np.float64)),
        ("states", lambda a: np.asfortranarray(a)),
        ("states", read_only),
        ("token_types", lambda a: a.astype(np.int64)),
        ("token_types", lambda a: a[None]),
    ],
)
def test_nothing_is_converted(engine, arrays, name, change):
    arrays[name] = change(arrays[name])
    with pytest.raises(TypeError, match=f"{name} must be a contiguous"):
        engine.encode(**arrays)


@pytest.mark.parametrize("length", [0, 4, 6])
def test_every_token_has_a_type(engine, arrays, length):
    arrays["token_types"] = np.zeros(length, np.int32)
    with pytest.raises(ValueError, match="token_types must be"):
        engine.encode(**arrays)


@pytest.mark.parametrize("threads", [2.0, True, "2", 2**40])
def test_threads_are_a_number(file, threads):
    from m3e_runtime._native import NativeEncoder

    with pytest.raises(TypeError):
        NativeEncoder(file, threads)


def test_paths_are_what_the_system_takes(file):
    from m3e_runtime._native import NativeEncoder

    for path in (file, str(file), os.fsencode(file)):
        assert NativeEncoder(path).dimension == 64
    with pytest.raises(OSError, match="missing-\udcff"):
        NativeEncoder("missing-\udcff")
    with pytest.raises(TypeError, match=r"os\.PathLike"):
        NativeEncoder(5)
    with pytest.raises(ValueError, match="null"):
        NativeEncoder("a\0b")
    with pytest.raises(ValueError, match="null"):
        NativeEncoder(file, 1, "portable\0")


def test_a_call_can_be_stopped_by_another_thread(engine):
    from m3e_runtime._native import Stop

    stop = Stop()
    stop.set()  # the engine asks when it has computed for a while
    texts = 1 << 12
    while True:
        ids, offsets = np.full(texts * 256, 7, np.int32), np.arange(texts + 1, dtype=np.int64) * 256
        vectors = np.empty((texts, 64), np.float32)
        try:
            engine.encode(ids, offsets, vectors, stop=stop)
        except RuntimeError as error:
            assert "stopped" in str(error)  # noqa: PT017 - sooner or later it must be long enough
            break
        texts *= 2
    engine.encode(ids[:256], offsets[:2], vectors[:1])
    assert np.isfinite(vectors[0]).all()


def test_arrays_that_do_not_fit_together_are_refused(engine, arrays):
    for name, wrong in (
        ("ids", arrays["ids"][:4]),
        ("ids", np.append(arrays["ids"], np.int32(7))),
        ("offsets", arrays["offsets"][:2]),
        ("offsets", np.array([], np.int64)),
        ("offsets", np.array([0, 3, 2**40], np.int64)),
        ("offsets", np.array([0, 6, 5], np.int64)),
        ("offsets", np.array([-1, 3, 5], np.int64)),
        ("vectors", np.zeros((3, 64), np.float32)),
        ("vectors", np.zeros((2, 63), np.float32)),
        ("prompt_lengths", np.array([1], np.int64)),
        ("prompt_lengths", np.array([1, 1, 1], np.int64)),
    ):
        with pytest.raises(ValueError, match=r"must be|offsets|tokens"):
            engine.encode(**{**arrays, name: wrong})


def test_no_texts_are_encoded_to_nothing(engine):
    engine.encode(np.array([], np.int32), np.array([0], np.int64), np.empty((0, 64), np.float32))


def test_an_engine_is_not_copied(engine):
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="NativeEncoder cannot be copied or pickled"):
            duplicate(engine)


_OTHER_LIBRARY = """
import _ctypes, m3e_runtime.engine_files
from pathlib import Path
m3e_runtime.engine_files.library_file = lambda: Path(_ctypes.__file__)
"""
_OLDER_LIBRARY = """
import ctypes
found = ctypes.CDLL.__getitem__
def get(library, name):
    if name == "m3e_stop_if_set":
        raise AttributeError(f"undefined symbol: {name}")
    return found(library, name)
ctypes.CDLL.__getitem__ = get
"""


@pytest.mark.parametrize(
    ("before", "lacks"), [(_OTHER_LIBRARY, "m3e_abi_version"), (_OLDER_LIBRARY, "m3e_stop_if_set")]
)
def test_a_library_that_does_not_fit_is_not_used(before, lacks):
    script = before + "from m3e_runtime.backends import native\nprint(native.missing())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("the native engine cannot be loaded (")
    assert lacks in done.stdout
