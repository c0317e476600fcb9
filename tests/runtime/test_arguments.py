"""Arguments of another type: taken where the meaning is clear, else an error that names the argument."""

import os
import shutil
import sys

import numpy as np
import pytest

from m3e_runtime import Encoder, OptionError, quantize_embeddings
from m3e_runtime.backends import native
from m3e_runtime.backends.device import device_name

TEXTS = ["今天天气很好", "short"]


@pytest.fixture(scope="module")
def encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


def test_devices_are_named_as_elsewhere(tiny_bundle):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for device in (torch.device("cpu"), torch.device("cpu", 0), "cpu", None):
        assert Encoder.load(tiny_bundle, device=device).info["device"] == "cpu"
    assert device_name(torch.device("cuda", 1)) == device_name(1) == "cuda:1"
    assert device_name(0) == "cuda:0"


def test_numbers_of_numpy_and_lists_are_taken(tiny_bundle, encoder):
    assert Encoder.load(tiny_bundle, threads=np.int64(2)).info["threads"] == 2
    found = encoder.encode(
        TEXTS, batch_size=np.int32(1), truncate_dim=np.int64(8), normalize_embeddings=np.True_
    )
    np.testing.assert_array_equal(
        found, encoder.encode(TEXTS, batch_size=1, truncate_dim=8, normalize_embeddings=True)
    )
    ranges = np.stack([np.full(64, -3.0), np.full(64, 3.0)])
    codes = encoder.encode(TEXTS, precision="int8", ranges=ranges.tolist())
    np.testing.assert_array_equal(codes, encoder.encode(TEXTS, precision="int8", ranges=ranges))
    a, b = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.similarity(a.tolist(), b.tolist()), encoder.similarity(a, b))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threads", "32"),
        ("threads", 2.0),
        ("threads", True),
        ("threads", 5000),
        ("device", True),
        ("device", 0.5),
        ("device", ["cpu"]),
        ("artifact", 5),
        ("backend", ["native"]),
        ("verify", "no"),
        ("path", None),
        ("path", 5),
    ],
)
def test_what_load_does_not_understand_is_refused_by_name(tiny_bundle, argument, value):
    with pytest.raises(OptionError, match=argument):
        Encoder.load(**{"path": tiny_bundle, argument: value})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", "32"),
        ("batch_size", 32.0),
        ("batch_size", True),
        ("batch_size", np.array([1, 2])),
        ("truncate_dim", "8"),
        ("normalize_embeddings", "false"),
        ("normalize_embeddings", None),
        ("prompt_name", ["query"]),
        ("precision", np.int8),
        ("ranges", [[0], [1, 2]]),
        ("ranges", [["a"] * 64] * 2),
        ("ranges", np.full((2, 64), np.nan)),
        ("window", "10"),
    ],
)
def test_what_encode_does_not_understand_is_refused_by_name(encoder, argument, value):
    options = {"precision": "int8"} if argument == "ranges" else {}
    with pytest.raises(OptionError, match=argument):
        list(encoder.encode_iter(TEXTS, **{**options, argument: value}))
    if argument != "window":
        with pytest.raises(OptionError, match=argument):
            encoder.encode(TEXTS, **{**options, argument: value})


def test_vectors_of_different_dimensions_are_not_compared(encoder):
    with pytest.raises(OptionError, match="3 and of 4 dimensions"):
        encoder.similarity(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(OptionError, match="shape"):
        encoder.similarity(np.zeros((2, 3, 4)), np.zeros((2, 4)))


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_codes_of_one_text_need_ranges(encoder, precision):
    for one in ("a", ["a"]):
        with pytest.raises(OptionError, match="needs ranges"):
            encoder.encode(one, precision=precision)
    with pytest.raises(OptionError, match="needs ranges"):
        quantize_embeddings(encoder.encode("a"), precision)
    ranges = np.stack([np.full(64, -3.0), np.full(64, 3.0)])
    codes = [encoder.encode(text, precision=precision, ranges=ranges) for text in TEXTS]
    assert (codes[0] != codes[1]).any()


def test_codes_by_few_vectors_are_told_of(encoder, caplog):
    encoder.encode(TEXTS, precision="int8")
    assert "ranges of 2 vectors" in caplog.text


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        ([np.array([2.0, 3.0])], "float64"),
        ([np.array([2**32 + 5])], "no token id"),
        ([["a"]], "int32"),
        (np.array([2, 5, 3]), "int32"),
        (5, "int32"),
    ],
)
def test_token_ids_are_whole_numbers_of_32_bits(encoder, ids, complaint):
    with pytest.raises(OptionError, match=f"token_ids.*{complaint}"):
        list(encoder.run(ids))


def test_token_ids_in_lists_are_taken(encoder):
    (_, found), (_, expected) = (
        next(encoder.run([kind([101, 7, 102])])) for kind in (list, lambda ids: np.array(ids, np.int32))
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="this system's names are Unicode")
@pytest.mark.parametrize("backend", ["native", "onnxruntime"])
def test_names_of_folders_need_not_be_utf8(tiny_bundle, tmp_path, backend):
    if backend == "native" and (reason := native.missing()):
        pytest.skip(reason)
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    shutil.copytree(os.fsencode(tiny_bundle), folder)
    for path in (folder, os.fsdecode(folder)):
        found = Encoder.load(path, artifact=f"fp32-{'native' if backend == 'native' else 'cpu'}")
        assert found.encode("a").shape == (64,)
