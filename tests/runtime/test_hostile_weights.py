"""Native weights are read in place by C++: whatever is wrong with the file must be refused, not followed."""

import dataclasses
import json
import random

import numpy as np
import pytest

from families import make_family
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.pooling import Dense
from m3e_export.checkpoint.token_heads import TokenHeads, TokenLinear
from m3e_export.native.writer import FORMAT_VERSION, save_native
from m3e_export.precision.search import float_plan
from m3e_runtime import BundleError
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from random_encoders import random_encoder

pytestmark = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module")
def good(tiny_bundle) -> bytes:
    return (tiny_bundle / "native" / "model_int8_native.safetensors").read_bytes()


def split(content: bytes):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data: bytes, align: bool = True) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64 if align else 0)
    return len(text).to_bytes(8, "little") + text + data


def load(tmp_path, content: bytes):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    engine = NativeCpu(file, 1)
    return engine.run([np.array([2, 7, 3], np.int32)])


def test_the_untouched_file_loads(tmp_path, good):
    header, data = split(good)
    assert np.isfinite(load(tmp_path, good)).all()
    assert np.isfinite(load(tmp_path, joined(header, data))).all()


@pytest.mark.parametrize("share", [0.0, 1e-6, 1e-4, 0.01, 0.5, 0.999, 0.999999])
def test_truncated(tmp_path, good, share):
    with pytest.raises(BundleError):
        load(tmp_path, good[: int(len(good) * share)])


@pytest.mark.parametrize("length", [0, 1, 2**24 + 1, 2**31, 2**63 - 1, 2**64 - 1])
def test_impossible_header_lengths(tmp_path, good, length):
    with pytest.raises(BundleError):
        load(tmp_path, length.to_bytes(8, "little") + good[8:])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a":',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
        b'{"__metadata__":{"format":1}}',
        b'{"\\ud800":{}}',
        b'{"\\q":{}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":{"shape":[' + b"9" * 1000 + b"]}}",
        b'{"a":{"shape":[-1]}}',
        b'{"a":{"shape":[1.5]}}',
        b"{}{}",
        b'{"a\x00":{}}',
    ],
)
def test_headers_that_are_not_what_they_should_be(tmp_path, header):
    with pytest.raises(BundleError):
        load(tmp_path, joined(header, b"\0" * 64))


def changed(change):
    def apply(header, data):
        change(header)
        return header, data

    return apply


def metadata(key, value):
    def change(header):
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value

    return changed(change)


def tensor(name, **properties):
    return changed(lambda header: header[name].update(properties))


def overlap(header):
    names = [name for name in header if name.endswith(".bias")]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]


CHANGES = {
    "no format": metadata("format", None),
    "other format": metadata("format", "pt"),
    "newer version": metadata("version", str(int(FORMAT_VERSION) + 1)),
    "older version": metadata("version", str(int(FORMAT_VERSION) - 1)),
    "version not a number": metadata("version", "two"),
    "no layers": metadata("layers", None),
    "zero layers": metadata("layers", "0"),
    "more layers than tensors": metadata("layers", "3"),
    "fewer layers than tensors": metadata("layers", "1"),
    "endless layers": metadata("layers", "99999999999999999999"),
    "hidden not a number": metadata("hidden", "sixty-four"),
    "hidden negative": metadata("hidden", "-64"),
    "hidden larger": metadata("hidden", "128"),
    "hidden smaller": metadata("hidden", "32"),
    "heads do not divide": metadata("heads", "7"),
    "heads zero": metadata("heads", "0"),
    "vocabulary larger": metadata("vocabulary", "2001"),
    "vocabulary huge": metadata("vocabulary", "67108864"),
    "positions larger": metadata("positions", "1000000"),
    "padding without a row": metadata("padding", "0"),
    "padding not a number": metadata("padding", "one"),
    "intermediate other": metadata("intermediate", "192"),
    "no pooling": metadata("pooling", None),
    "pooling unknown": metadata("pooling", "median"),
    "pooling empty": metadata("pooling", ""),
    "pooling of two empty ones": metadata("pooling", "+"),
    "pooling with nothing more": metadata("pooling", "mean+"),
    "pooling of too many": metadata("pooling", "+".join(["max"] * 17)),
    "pooling of endlessly many": metadata("pooling", "mean+" * 100_000),
    "pooling of another kind in a row": metadata("pooling", "first_last_mean+mean"),
    "pooling with a space": metadata("pooling", "mean "),
    "pooling with a zero byte": metadata("pooling", "mean\0"),
    "dense without tensors": metadata("dense", "40:tanh"),
    "dense empty": metadata("dense", ""),
    "dense without activation": metadata("dense", "40"),
    "dense with another activation": metadata("dense", "40:softmax"),
    "layer normalization without tensors": metadata("dense", "64:layer_norm"),
    "unit length of another width": metadata("dense", "40:unit_length"),
    "states weighted without tensors": metadata("states", "weighted"),
    "states in another way": metadata("states", "mixed"),
    "dense with a third part": metadata("dense", "40:tanh:1"),
    "normalize unknown": metadata("normalize", "maybe"),
    "eps not a number": metadata("norm_eps", "x"),
    "eps nan": metadata("norm_eps", "nan"),
    "eps negative": metadata("norm_eps", "-1"),
    "tensor missing": changed(lambda header: header.pop("layer.0.qkv.bias")),
    "tensor renamed": changed(lambda header: header.update(x=header.pop("layer.0.qkv.bias"))),
    "dtype other": tensor("layer.0.qkv", dtype="U8"),
    "dtype unknown": tensor("layer.0.qkv", dtype="I9"),
    "dtype wider": tensor("layer.0.qkv.bias", dtype="F64"),
    "shape other": tensor("layer.0.qkv.bias", shape=[96, 2]),
    "shape overflows": tensor("layer.0.qkv.bias", shape=[2**40, 2**40]),
    "shape empty": tensor("layer.0.qkv.bias", shape=[]),
    "offsets outside": tensor("layer.0.qkv.bias", data_offsets=[2**40, 2**40 + 768]),
    "offsets backwards": tensor("layer.0.qkv.bias", data_offsets=[768, 0]),
    "offsets three": tensor("layer.0.qkv.bias", data_offsets=[0, 1, 2]),
    "unknown property": tensor("layer.0.qkv.bias", code="exec"),
    "overlapping": changed(overlap),
    "data missing at the end": lambda header, data: (header, data[:-64]),
    "data added at the end": lambda header, data: (header, data + b"\0" * 64),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_headers(tmp_path, good, name):
    content = joined(*CHANGES[name](*split(good)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


@pytest.fixture(scope="module")
def good_dense(tiny_checkpoint, tmp_path_factory) -> bytes:
    """Weights with two layers after a pooling of two vectors."""
    checkpoint = load_checkpoint(str(tiny_checkpoint), pooling="max+mean")
    random = np.random.default_rng(0)
    hidden = checkpoint.spec.hidden
    layers = [
        Dense(random.normal(size=shape).astype(np.float32), np.zeros(shape[1], np.float32), "tanh")
        for shape in ((2 * hidden, 40), (40, 5))
    ]
    file = tmp_path_factory.mktemp("dense") / "weights"
    plan = float_plan("fp32")
    save_native(checkpoint.spec, checkpoint.weights, plan, "max+mean", False, file, layers)
    return file.read_bytes()


def test_the_untouched_file_with_dense_layers_loads(tmp_path, good_dense):
    assert load(tmp_path, good_dense).shape == (1, 5)


def half(header):
    entry = header["dense.0"]
    entry["dtype"], entry["shape"] = "F16", [entry["shape"][0], 2 * entry["shape"][1], entry["shape"][2]]


DENSE_CHANGES = {
    "no dense": metadata("dense", None),
    "one layer less": metadata("dense", "40:tanh"),
    "one layer more": metadata("dense", "40:tanh+5:tanh+5:tanh"),
    "far more layers": metadata("dense", "+".join(["40:tanh"] * 17)),
    "endlessly many layers": metadata("dense", "40:tanh+" * 100_000),
    "outputs of other panels": metadata("dense", "80:tanh+5:tanh"),
    "inputs of the next layer": metadata("dense", "41:tanh+5:tanh"),
    "no outputs": metadata("dense", "0:tanh+5:tanh"),
    "negative outputs": metadata("dense", "-40:tanh+5:tanh"),
    "huge outputs": metadata("dense", "67108864:tanh+5:tanh"),
    "endless outputs": metadata("dense", "9" * 1000 + ":tanh"),
    "outputs not a number": metadata("dense", "x:tanh+5:tanh"),
    "another separator": metadata("dense", "40:tanh,5:tanh"),
    "fewer vectors": metadata("pooling", "max"),
    "more vectors": metadata("pooling", "max+mean+cls"),
    "two vectors averaged": metadata("pooling", "first_last_mean"),
    "dense in float16": changed(half),
    "bias missing": changed(lambda header: header.pop("dense.1.bias")),
    "bias of another shape": tensor("dense.1.bias", shape=[4, 4]),
}


@pytest.mark.parametrize("name", DENSE_CHANGES)
def test_changed_headers_with_dense_layers(tmp_path, good_dense, name):
    content = joined(*DENSE_CHANGES[name](*split(good_dense)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


@pytest.fixture(scope="module")
def good_tokens(tiny_checkpoint, tmp_path_factory) -> bytes:
    """Weights with layers that give each token a weight and a vector."""
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    random = np.random.default_rng(0)
    sparse, vectors = (
        TokenLinear(
            random.normal(size=(checkpoint.spec.hidden, outputs)).astype(np.float32),
            np.zeros(outputs, np.float32),
        )
        for outputs in (1, 40)
    )
    file = tmp_path_factory.mktemp("tokens") / "weights"
    heads = TokenHeads(sparse, vectors, (0,), unit_length=True)
    plan = float_plan("fp32")
    save_native(checkpoint.spec, checkpoint.weights, plan, "cls", True, file, token_heads=heads)
    return file.read_bytes()


def test_the_untouched_file_with_token_heads_loads(tmp_path, good_tokens):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(good_tokens)
    _, (found,) = NativeCpu(file, 1).run_outputs([np.array([2, 7, 3], np.int32)])
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


TOKEN_CHANGES = {
    "no weights": metadata("token_weights", None),
    "another activation": metadata("token_weights", "gelu"),
    "no vectors": metadata("token_vectors", None),
    "vectors of another size": metadata("token_vectors", "80:unit_length"),
    "no size": metadata("token_vectors", "0:unit_length"),
    "huge size": metadata("token_vectors", "67108864:unit_length"),
    "size not a number": metadata("token_vectors", "x:unit_length"),
    "another length": metadata("token_vectors", "40:long"),
    "no length": metadata("token_vectors", "40"),
    "bias missing": changed(lambda header: header.pop("token_weights.bias")),
    "bias of another shape": tensor("token_vectors.bias", shape=[4, 12]),
}


@pytest.mark.parametrize("name", TOKEN_CHANGES)
def test_changed_headers_with_token_heads(tmp_path, good_tokens, name):
    content = joined(*TOKEN_CHANGES[name](*split(good_tokens)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


def test_outputs_that_a_model_does_not_have_are_refused(tmp_path, good):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(good)
    engine = NativeCpu(file, 1)
    assert not engine.gives_outputs
    with pytest.raises(ValueError, match="the model gives no weights of tokens"):
        engine.run_outputs([np.array([2, 7, 3], np.int32)], vectors=False)


@pytest.fixture(scope="module")
def save_biased(tiny_checkpoint, tmp_path_factory):
    """Write weights with biases of scores, all of one value."""
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    shape = (checkpoint.spec.heads, 2 * checkpoint.spec.max_positions - 1)

    def save(value: float) -> bytes:
        weights = dataclasses.replace(checkpoint.weights, relative_bias=np.full(shape, value, np.float32))
        file = tmp_path_factory.mktemp("biased") / "weights"
        save_native(checkpoint.spec, weights, float_plan("fp32"), "mean", False, file)
        return file.read_bytes()

    return save


@pytest.mark.parametrize("value", [0, 5, -1e38])
def test_the_untouched_file_with_biases_loads(tmp_path, save_biased, value):
    assert np.isfinite(load(tmp_path, save_biased(value))).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_biases_that_are_not_finite_are_refused(tmp_path, save_biased, value):
    with pytest.raises(BundleError, match=r"relative_bias.*NaN or infinite"):
        load(tmp_path, save_biased(value))


BIAS_CHANGES = {
    "no biases": metadata("attention_bias", None),
    "biases of another kind": metadata("attention_bias", "rotary"),
    "biases of no kind": metadata("attention_bias", ""),
    "biases of an endless kind": metadata("attention_bias", "relative" * 100_000),
    "biases missing": changed(lambda header: header.pop("relative_bias")),
    "biases of one distance less": tensor("relative_bias", shape=[4, 1022]),
    "biases turned around": tensor("relative_bias", shape=[1023, 4]),
    "biases in a row": tensor("relative_bias", shape=[4 * 1023]),
    "biases in float16": tensor("relative_bias", shape=[4, 2046], dtype="F16"),
    "more heads": metadata("heads", "8"),
    "fewer heads": metadata("heads", "2"),
}


@pytest.mark.parametrize("name", BIAS_CHANGES)
def test_changed_headers_with_biases(tmp_path, save_biased, name):
    content = joined(*BIAS_CHANGES[name](*split(save_biased(1))))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


@pytest.mark.parametrize("pooling", ["max", "weightedmean", "first_last_avg", "lasttoken+cls"])
def test_another_pooling_of_the_same_weights_gives_what_it_says(tmp_path, good, pooling):
    """A pooling needs no tensors; only the manifest can tell that the dimension is another."""
    vectors = load(tmp_path, joined(*metadata("pooling", pooling)(*split(good))))
    assert vectors.shape == (1, 64 * (1 + pooling.count("+")))
    assert np.isfinite(vectors).all()


@pytest.fixture(scope="module")
def good_padded(tmp_path_factory) -> bytes:
    """Weights of RoBERTa: a row of the position table is padding's."""
    folder = make_family(tmp_path_factory.mktemp("padded") / "model", "roberta")
    checkpoint, file = load_checkpoint(str(folder)), folder / "weights"
    save_native(checkpoint.spec, checkpoint.weights, float_plan("fp32"), "mean", False, file)
    return file.read_bytes()


def test_the_untouched_file_with_padding_loads(tmp_path, good_padded):
    header = split(good_padded)[0]
    assert header["__metadata__"]["padding"] == "1"
    assert header["position_embeddings"]["shape"] == [int(header["__metadata__"]["positions"]) + 1, 64]
    assert np.isfinite(load(tmp_path, good_padded)).all()


PADDED_CHANGES = {
    "no padding": metadata("padding", None),
    "padding empty": metadata("padding", ""),
    "padding negative": metadata("padding", "-1"),
    "padding beyond the vocabulary": metadata("padding", "2000"),
    "padding endless": metadata("padding", "9" * 1000),
    "one position more": metadata("positions", "129"),
    "no row of padding": tensor("position_embeddings", shape=[128, 64]),
}


@pytest.mark.parametrize("name", PADDED_CHANGES)
def test_changed_headers_with_padding(tmp_path, good_padded, name):
    content = joined(*PADDED_CHANGES[name](*split(good_padded)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


@pytest.fixture(scope="module")
def good_shared(tmp_path_factory) -> bytes:
    """Weights of ALBERT: two stored layers for four, and a matrix from embeddings of 32 to states of 64."""
    sizes = {"num_hidden_layers": 4, "num_hidden_groups": 2}
    folder = make_family(tmp_path_factory.mktemp("shared") / "model", "albert", config=sizes)
    checkpoint, file = load_checkpoint(str(folder)), folder / "weights"
    save_native(checkpoint.spec, checkpoint.weights, float_plan("fp32"), "mean", False, file)
    return file.read_bytes()


def test_the_untouched_file_with_shared_layers_loads(tmp_path, good_shared):
    assert split(good_shared)[0]["__metadata__"]["layer_weights"] == "0,0,1,1"
    assert np.isfinite(load(tmp_path, good_shared)).all()


SHARED_CHANGES = {
    "no layer weights": metadata("layer_weights", None),
    "layer weights empty": metadata("layer_weights", ""),
    "fewer layer weights": metadata("layer_weights", "0,0,1"),
    "more layer weights": metadata("layer_weights", "0,0,1,1,1"),
    "endlessly many layer weights": metadata("layer_weights", "0," * 100_000),
    "one layer left out": metadata("layer_weights", "0,0,0,0"),
    "one layer too many": metadata("layer_weights", "0,0,1,2"),
    "a layer before its turn": metadata("layer_weights", "1,0,0,0"),
    "a layer skipped": metadata("layer_weights", "0,0,2,2"),
    "a negative layer": metadata("layer_weights", "0,0,-1,1"),
    "a huge layer": metadata("layer_weights", "0,0,1," + "9" * 1000),
    "a layer that is no number": metadata("layer_weights", "0,0,one,1"),
    "a comma at the end": metadata("layer_weights", "0,0,1,"),
    "another separator": metadata("layer_weights", "0+0+1+1"),
    "fewer layers": metadata("layers", "3"),
    "no activation": metadata("activation", None),
    "activation unknown": metadata("activation", "swish"),
    "activation empty": metadata("activation", ""),
    "activation of another case": metadata("activation", "GELU"),
    "no embedding width": metadata("embedding", None),
    "embedding wider": metadata("embedding", "64"),
    "embedding narrower": metadata("embedding", "16"),
    "embedding zero": metadata("embedding", "0"),
    "embedding negative": metadata("embedding", "-32"),
    "embedding huge": metadata("embedding", "67108864"),
    "embedding not a number": metadata("embedding", "wide"),
    "projection missing": changed(lambda header: header.pop("embedding_projection")),
    "projection's bias missing": changed(lambda header: header.pop("embedding_projection.bias")),
    "projection transposed": tensor("embedding_projection", shape=[2, 64, 16]),
    "words added to states": metadata("pooling", "embedding_last_mean"),
}


@pytest.mark.parametrize("name", SHARED_CHANGES)
def test_changed_headers_with_shared_layers(tmp_path, good_shared, name):
    content = joined(*SHARED_CHANGES[name](*split(good_shared)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


def test_a_projection_that_is_said_to_be_there_is_asked_for(tmp_path, good):
    with pytest.raises(BundleError, match="embedding_projection"):
        load(tmp_path, joined(*metadata("embedding", "64")(*split(good))))


@pytest.fixture(scope="module")
def good_newer(tmp_path_factory) -> bytes:
    """Weights of an encoder with gates, windows, rotations, and norms before the parts."""
    spec, weights = random_encoder("modernbert", 64)
    file = tmp_path_factory.mktemp("newer") / "weights"
    save_native(spec, weights, float_plan("fp32"), "mean", False, file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def good_normed(tmp_path_factory) -> bytes:
    """Weights of an encoder that normalizes queries and keys, and twice after the attention."""
    spec, weights = random_encoder("causal, partly rotated", 64)
    file = tmp_path_factory.mktemp("normed") / "weights"
    save_native(spec, weights, float_plan("fp32"), "mean", False, file)
    return file.read_bytes()


def test_the_untouched_file_of_a_newer_encoder_loads(tmp_path, good_newer, good_normed):
    said = split(good_newer)[0]["__metadata__"]
    assert said["attention_spans"] == "-:-,20:33,-:-"
    assert (said["rotary"], said["rotary_layers"]) == ("24", "0,1,0")
    assert (said["norm_place"], said["first_norm"], said["final_norm"]) == ("before", "none", "yes")
    assert (said["feed_forward"], said["position_table"]) == ("gated", "one")
    assert np.isfinite(load(tmp_path, good_newer)).all()
    assert split(good_normed)[0]["__metadata__"]["query_key_norm"] == "hidden"
    assert np.isfinite(load(tmp_path, good_normed)).all()


def angle(value):
    """Put a number that is not finite into the rotary tables."""

    def change(header, data):
        begin, _ = header["rotary_tables"]["data_offsets"]
        return header, data[:begin] + np.float32(value).tobytes() + data[begin + 4 :]

    return change


NEWER_CHANGES = {
    "not gated": metadata("feed_forward", None),
    "gated in another way": metadata("feed_forward", "split"),
    "positions for all": metadata("position_table", None),
    "positions of another kind": metadata("position_table", "two"),
    "positions and padding": metadata("padding", "0"),
    "norms after, but none first": metadata("norm_place", None),
    "norms elsewhere": metadata("norm_place", "within"),
    "norm of another kind": metadata("norm_kind", "batch"),
    "first norm missing": metadata("first_norm", None),
    "first norm of another kind": metadata("first_norm", "1"),
    "final norm not said": metadata("final_norm", None),
    "final norm of another kind": metadata("final_norm", "no"),
    "final norm missing": changed(lambda header: header.pop("final_norm.beta")),
    "final norm narrower": tensor("final_norm.gamma", shape=[36, 2]),
    "embedding norm said to be absent": metadata("embedding_norm", "none"),
    "embedding norm of another kind": metadata("embedding_norm", "rms"),
    "query norms of nothing": metadata("query_key_norm", "hidden"),
    "spans of fewer layers": metadata("attention_spans", "-:-,20:33"),
    "spans of more layers": metadata("attention_spans", "-:-,20:33,-:-,-:-"),
    "spans of endlessly many": metadata("attention_spans", "-:-," * 100_000),
    "spans empty": metadata("attention_spans", ""),
    "a span without an end": metadata("attention_spans", "-:-,20,-:-"),
    "a span of three": metadata("attention_spans", "-:-,20:33:1,-:-"),
    "a span that is negative": metadata("attention_spans", "-:-,-1:33,-:-"),
    "a span that is no number": metadata("attention_spans", "-:-,x:33,-:-"),
    "a span that is huge": metadata("attention_spans", "-:-,2097152:33,-:-"),
    "a span that is endless": metadata("attention_spans", "-:-,1:" + "9" * 1000 + ",-:-"),
    "no rotation": metadata("rotary", None),
    "a rotation of nothing": metadata("rotary", "0"),
    "a rotation of an odd number": metadata("rotary", "23"),
    "a rotation of fewer columns": metadata("rotary", "22"),
    "a rotation beyond the head": metadata("rotary", "26"),
    "a rotation of no number": metadata("rotary", "all"),
    "no tables of layers": metadata("rotary_layers", None),
    "tables of fewer layers": metadata("rotary_layers", "0,1"),
    "tables of more layers": metadata("rotary_layers", "0,1,0,0"),
    "a table that is not there": metadata("rotary_layers", "0,2,0"),
    "a table before the first": metadata("rotary_layers", "0,-1,0"),
    "a table that is no number": metadata("rotary_layers", "0,one,0"),
    "rotary tables missing": changed(lambda header: header.pop("rotary_tables")),
    "rotary tables of other positions": metadata("positions", "65"),
    "rotary tables in a row": tensor("rotary_tables", shape=[2 * 64 * 24]),
    "rotary tables without a shape": tensor("rotary_tables", shape=[]),
    "more rotary tables than layers": tensor("rotary_tables", shape=[32, 4, 24]),
    "no rotary tables": tensor("rotary_tables", shape=[0, 64, 24], data_offsets=[0, 0]),
    "rotary tables in float16": tensor("rotary_tables", shape=[4, 64, 24], dtype="F16"),
    "an angle that is NaN": angle(np.nan),
    "an angle that is infinite": angle(np.inf),
    "intermediate other": metadata("intermediate", "112"),
}


@pytest.mark.parametrize("name", NEWER_CHANGES)
def test_changed_headers_of_a_newer_encoder(tmp_path, good_newer, name):
    content = joined(*NEWER_CHANGES[name](*split(good_newer)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


NORMED_CHANGES = {
    "not normalized twice": metadata("second_norm", None),
    "normalized twice in another way": metadata("second_norm", "no"),
    "a second norm missing": changed(lambda header: header.pop("layer.1.second_norm.gamma")),
    "two norms, of which one is first": metadata("norm_place", "before"),
    "queries not normalized": metadata("query_key_norm", None),
    "queries normalized in another way": metadata("query_key_norm", "head"),
    "a key norm missing": changed(lambda header: header.pop("layer.1.key_norm.gamma")),
    "a query norm of a head": tensor("layer.0.query_norm.beta", shape=[3, 24]),
    "first norm said to be absent": metadata("first_norm", "none"),
}


@pytest.mark.parametrize("name", NORMED_CHANGES)
def test_changed_headers_with_normalized_queries(tmp_path, good_normed, name):
    content = joined(*NORMED_CHANGES[name](*split(good_normed)))
    with pytest.raises(BundleError, match="native engine cannot load it"):
        load(tmp_path, content)


def test_misaligned(tmp_path, good):
    header, data = split(good)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64 + 1)
    with pytest.raises(BundleError, match="aligned"):
        load(tmp_path, joined(text, data, align=False))


def test_a_tensor_there_twice(tmp_path, good):
    header, data = split(good)
    name = "layer.0.qkv.bias"
    text = json.dumps(header)
    twice = text[:-1] + f', "{name}": {json.dumps(header[name])}}}'
    with pytest.raises(BundleError, match="twice"):
        load(tmp_path, joined(twice.encode(), data))


def test_random_damage_is_refused_or_harmless(tmp_path, good):
    """Any byte of the header may be wrong: an error, or (in a name's spaces, say) vectors; never a crash."""
    generator = random.Random(0)
    length = int.from_bytes(good[:8], "little")
    for _ in range(300):
        content = bytearray(good)
        for _ in range(generator.choice((1, 1, 2, 8))):
            content[generator.randrange(8 + length)] = generator.randrange(256)
        try:
            load(tmp_path, bytes(content))
        except BundleError:
            continue


def test_random_weights_are_garbage_but_safe(tmp_path, good):
    """Damaged numbers, NaN and infinity among them, give some vectors and do not crash."""
    generator = np.random.default_rng(0)
    length = int.from_bytes(good[:8], "little")
    content = np.frombuffer(good, np.uint8).copy()
    content[8 + length :] = generator.integers(0, 256, len(content) - 8 - length)
    assert load(tmp_path, content.tobytes()).shape == (1, 64)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(BundleError, match="cannot open"):
        NativeCpu(tmp_path / "none.safetensors", 1)
    with pytest.raises(BundleError, match="regular file"):
        NativeCpu(tmp_path, 1)
