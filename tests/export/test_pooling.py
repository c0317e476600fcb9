"""Poolings and the layers after them: every engine against sentence-transformers or the definitions."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel

import synthetic
from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.pooling import POOLINGS, pooling_spec
from m3e_export.cli import main
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import CudaDialect, CudaPackedDialect, OnnxRuntimeDialect, StandardDialect
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.oracle.torch_oracle import TorchOracle
from m3e_export.precision.embeddings import Int8Embeddings
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.plan import PrecisionPlan
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime import Encoder
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.gpu.batch_shapes import PackedLayout

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
SENTENCES = [
    "今天天气很好",
    "a",
    "",
    "How do I change the card linked to my account?",
    "字" * 90,
    "word " * 40,
]
HIDDEN = synthetic.TINY["hidden"]
DIALECTS = {"cpu": OnnxRuntimeDialect, "portable": StandardDialect, "cuda": CudaDialect}
ENGINES = ["native", *DIALECTS, "numpy", "torch"]

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint with a pooler; tests copy what they change."""
    return synthetic.make_checkpoint(tmp_path_factory.mktemp("base") / "base", **synthetic.TINY, pooler=True)


@pytest.fixture
def variant(base, tmp_path):
    """The checkpoint with another pooling config, and Dense modules as (outputs, activation, bias)."""

    def make(pooling=None, dense=(), normalize=False, **config):
        folder = tmp_path / "variant"
        folder.mkdir()
        for file in base.iterdir():
            if file.is_file():
                (folder / file.name).symlink_to(file)
        (folder / "modules.json").unlink()
        (folder / "config.json").unlink()
        original = synthetic.read_json(base / "config.json")
        synthetic.write_json(folder / "config.json", {**original, **config})
        if pooling is None:
            return folder
        kinds = ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * normalize]
        synthetic.write_json(folder / "modules.json", synthetic.modules_of(*kinds))
        synthetic.write_json(
            folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, **pooling}
        )
        width = HIDDEN * pooled_parts(pooling)
        for place, (outputs, activation, bias) in enumerate(dense, start=2):
            add_dense(folder / f"{place}_Dense", width, outputs, activation, bias)
            width = outputs
        return folder

    return make


def pooled_parts(pooling):
    modes = pooling.get("pooling_mode")
    if modes is not None:
        return 1 if isinstance(modes, str) else len(modes)
    return sum(bool(on) for flag, on in pooling.items() if flag.startswith("pooling_mode_"))


def add_dense(folder, inputs, outputs, activation="torch.nn.modules.activation.Tanh", bias=True, **config):
    random = np.random.default_rng(inputs + outputs)
    synthetic.write_json(
        folder / "config.json",
        {
            "in_features": inputs,
            "out_features": outputs,
            "bias": bias,
            "activation_function": activation,
            **config,
        },
    )
    tensors = {"linear.weight": random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)}
    if bias:
        tensors["linear.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")


def token_ids(checkpoint, sentences=SENTENCES):
    return checkpoint.text_tokenizer().encode_batch(sentences)


def engine_vectors(checkpoint, name, tmp_path, together):
    """Vectors of SENTENCES from one engine in fp32, each alone or all in one batch."""
    if name in ("numpy", "torch"):
        oracle = NumpyOracle(checkpoint) if name == "numpy" else TorchOracle(checkpoint)
        return oracle.encode(SENTENCES, lambda _: None)
    file = tmp_path / f"model-{name}"
    if name == "native":
        if native.missing():
            pytest.skip(native.missing())
        TARGETS["native"].save(checkpoint, float_plan("fp32"), file)
        backend = NativeCpu(file, 2)
    else:
        dialect = DIALECTS[name].twin or DIALECTS[name]
        options = GraphOptions(
            checkpoint.sentence_config.pooling,
            checkpoint.sentence_config.normalize,
            checkpoint.dense,
            state_weights=checkpoint.state_weights,
        )
        plan = float_plan("fp32")
        save_model(build_model(checkpoint.spec, checkpoint.weights, plan, dialect, options), file)
        backend = OnnxRuntimeCpu(file, 2)
    ids = token_ids(checkpoint)
    return backend.run(ids) if together else np.concatenate([backend.run([each]) for each in ids])


def check_engines(checkpoint, expected, tmp_path, engines=ENGINES):
    for name in engines:
        for together in (False, True) if name not in ("numpy", "torch") else (True,):
            found = engine_vectors(checkpoint, name, tmp_path, together)
            np.testing.assert_allclose(found, expected, atol=3e-5, err_msg=f"{name}, together={together}")


def sentence_transformers_vectors(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    alone = np.stack([model.encode(text, show_progress_bar=False) for text in SENTENCES])
    np.testing.assert_allclose(model.encode(SENTENCES), alone, atol=2e-5)
    return alone


POOLING_CONFIGS = {
    **{f"flag {mode}": ({FLAGS[mode]: True}, mode) for mode in MODES},
    "name": ({"pooling_mode": "weightedmean"}, "weightedmean"),
    "list of one": ({"pooling_mode": ["max"]}, "max"),
    "all flags, in the order of the modes": (
        {FLAGS[mode]: True for mode in reversed(MODES)},
        "+".join(MODES),
    ),
    "max and mean": ({FLAGS["mean"]: True, FLAGS["max"]: True}, "max+mean"),
    "names in an order of their own": ({"pooling_mode": ["mean", "cls", "max"]}, "mean+cls+max"),
    "names win over flags": ({"pooling_mode": "max", FLAGS["cls"]: True}, "max"),
}


@pytest.mark.parametrize("name", POOLING_CONFIGS)
def test_sentence_transformers_poolings(name, variant, tmp_path):
    config, named = POOLING_CONFIGS[name]
    folder = variant(config)
    checkpoint = load_checkpoint(str(folder))
    assert checkpoint.sentence_config.pooling == named
    check_engines(checkpoint, sentence_transformers_vectors(folder), tmp_path)


def test_normalized_concatenation(variant, tmp_path):
    folder = variant({"pooling_mode": ["max", "mean"]}, normalize=True)
    expected = sentence_transformers_vectors(folder)
    assert np.linalg.norm(expected, axis=1) == pytest.approx(1, abs=1e-5)
    check_engines(load_checkpoint(str(folder)), expected, tmp_path)


def definitions(folder, checkpoint):
    """uniem's and text2vec's poolings of each text alone, written from their definitions."""
    model = AutoModel.from_pretrained(folder, add_pooling_layer=True).eval()
    found = {}
    for ids in token_ids(checkpoint):
        with torch.inference_mode():
            given = torch.from_numpy(ids.astype(np.int64))[None]
            out = model(given, output_hidden_states=True)
            words, states = model.get_input_embeddings()(given)[0], [each[0] for each in out.hidden_states]
            weights = torch.arange(1, len(ids) + 1).float()[:, None]
            vectors = {
                "last_mean": states[-1].mean(0),
                "first_last_mean": (states[0].mean(0) + states[-1].mean(0)) / 2,
                "last_weighted": (states[-1] * weights).sum(0) / weights.sum(),
                "first_last_avg": (states[1].mean(0) + states[-1].mean(0)) / 2,
                "last_avg": states[-1].mean(0),
                "pooler": out.pooler_output[0],
                "cls": states[-1][0],
            }
        if words.shape == states[-1].shape:
            vectors["embedding_last_mean"] = (words.mean(0) + states[-1].mean(0)) / 2
        for name, vector in vectors.items():
            found.setdefault(name, []).append(vector.numpy())
    return {name: np.stack(vectors) for name, vectors in found.items()}


@pytest.fixture(scope="module")
def defined(base):
    return definitions(base, load_checkpoint(str(base)))


@pytest.mark.parametrize("key", ["uniem_pooling_strategy", "uniem_embedding_strategy"])
@pytest.mark.parametrize(
    "strategy", ["last_mean", "cls", "first_last_mean", "embedding_last_mean", "last_weighted"]
)
def test_poolings_of_uniem(strategy, key, variant, defined, tmp_path):
    checkpoint = load_checkpoint(str(variant(**{key: strategy})))
    assert checkpoint.sentence_config.kind == "uniem"
    assert checkpoint.sentence_config.pooling == pooling_spec(strategy).name
    engines = ENGINES if key == "uniem_pooling_strategy" else ["numpy"]
    check_engines(checkpoint, defined[strategy], tmp_path, engines)


@pytest.mark.parametrize("name", ["first_last_avg", "last_avg", "pooler", "cls"])
def test_poolings_of_text2vec(name, variant, defined, tmp_path):
    checkpoint = load_checkpoint(str(variant()), pooling=name)
    check_engines(checkpoint, defined[name], tmp_path)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("albert", "first_last_mean"),
        ("albert", "first_last_avg"),
        ("albert", "pooler"),
        ("albert, groups", "first_last_avg"),
        ("albert, groups", "embedding_last_mean"),
    ],
)
def test_poolings_where_embeddings_are_projected(family, name, tmp_path):
    folder = make_family(tmp_path / "model", family)
    checkpoint = load_checkpoint(str(folder), pooling=name)
    check_engines(checkpoint, definitions(folder, checkpoint)[name], tmp_path)


@pytest.mark.parametrize("layers", [1, 3])
def test_first_layer_of_other_depths(layers, tmp_path):
    shape = {**synthetic.TINY, "layers": layers}
    folder = synthetic.make_checkpoint(tmp_path / "deep", **shape, layout="plain", pooler=True)
    checkpoint = load_checkpoint(str(folder), pooling="first_last_avg")
    check_engines(checkpoint, definitions(folder, checkpoint)["first_last_avg"], tmp_path)


def test_a_pooling_by_hand_overrides_with_a_warning(variant, caplog, defined, tmp_path):
    folder = variant({FLAGS["mean"]: True}, uniem_pooling_strategy="cls")
    checkpoint = load_checkpoint(str(folder), pooling="pooler")
    assert "pooler" in caplog.text
    check_engines(checkpoint, defined["pooler"], tmp_path, ["numpy"])


DENSE = {
    "tanh": [(40, "torch.nn.modules.activation.Tanh", True)],
    "tanh without bias": [(40, "torch.nn.modules.activation.Tanh", False)],
    "identity": [(40, "torch.nn.modules.linear.Identity", True)],
    "wider": [(100, "torch.nn.modules.linear.Identity", False)],
    "relu": [(40, "torch.nn.modules.activation.ReLU", True)],
    "gelu": [(40, "torch.nn.modules.activation.GELU", True)],
    "silu and sigmoid": [(40, "torch.nn.SiLU", True), (30, "torch.nn.modules.activation.Sigmoid", True)],
    "two": [(50, "torch.nn.modules.activation.Tanh", True), (23, "torch.nn.modules.linear.Identity", True)],
}


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("normalize", [False, True])
def test_dense_modules(name, normalize, variant, tmp_path):
    folder = variant({FLAGS["mean"]: True}, DENSE[name], normalize)
    checkpoint = load_checkpoint(str(folder))
    assert [len(layer.bias) for layer in checkpoint.dense] == [outputs for outputs, _, _ in DENSE[name]]
    check_engines(checkpoint, sentence_transformers_vectors(folder), tmp_path)


def test_dense_after_a_concatenation_from_a_pickle(variant, tmp_path):
    folder = variant({"pooling_mode": ["cls", "max"]}, [(30, "torch.nn.modules.activation.Tanh", True)])
    weights = folder / "2_Dense" / "model.safetensors"
    tensors = {name: torch.from_numpy(array) for name, array in load_file(weights).items()}
    torch.save(tensors, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    check_engines(load_checkpoint(str(folder)), sentence_transformers_vectors(folder), tmp_path)


def test_dense_without_an_activation_is_tanh(variant, tmp_path):
    folder = variant({FLAGS["mean"]: True}, DENSE["tanh"])
    synthetic.update_json(folder / "2_Dense" / "config.json", remove=("activation_function",))
    check_engines(load_checkpoint(str(folder)), sentence_transformers_vectors(folder), tmp_path, ["numpy"])


# The bundle


@pytest.mark.parametrize("name", ["max+mean", "lasttoken", "dense"])
def test_the_bundle_is_a_sentence_transformers_folder(name, base, variant, few_texts, tmp_path):
    """Its modules and the encoder's weights are the model again; the runtime gives the same."""
    dense = DENSE["two"] if name == "dense" else ()
    folder = variant({"pooling_mode": ["mean"] if name == "dense" else name.split("+")}, dense, True)
    bundle = export(ExportRequest(str(folder), tmp_path / "bundle", gate=str(few_texts)))
    expected = sentence_transformers_vectors(folder)
    assert bundle.manifest.dimension == expected.shape[1]
    assert bundle.manifest.pooling == ("mean" if name == "dense" else name)
    for artifact in bundle.manifest.artifacts:
        vectors = Encoder.load(bundle.path, artifact=artifact.name).encode(SENTENCES)
        np.testing.assert_allclose(vectors, expected, atol=3e-5)
    save_file(load_file(base / "model.safetensors"), bundle.path / "model.safetensors", {"format": "pt"})
    np.testing.assert_allclose(sentence_transformers_vectors(bundle.path), expected, atol=3e-5)


def test_the_bundle_of_a_pooler_is_a_dense_module(base, variant, few_texts, defined, tmp_path):
    request = ExportRequest(
        str(variant()), tmp_path / "bundle", gate=str(few_texts), pooling="pooler", oracle="numpy"
    )
    bundle = export(request)
    assert bundle.manifest.pooling == "pooler"
    save_file(load_file(base / "model.safetensors"), bundle.path / "model.safetensors", {"format": "pt"})
    found = sentence_transformers_vectors(bundle.path)
    np.testing.assert_allclose(found, defined["pooler"], atol=3e-5)


def test_a_bundle_that_sentence_transformers_cannot_say_has_no_modules(variant, few_texts, defined, tmp_path):
    folder = variant(uniem_pooling_strategy="first_last_mean")
    bundle = export(ExportRequest(str(folder), tmp_path / "bundle", gate=str(few_texts)))
    assert not (bundle.path / "modules.json").exists()
    assert not list(bundle.path.glob("*_*/"))
    vectors = Encoder.load(bundle.path).encode(SENTENCES)
    np.testing.assert_allclose(vectors, defined["first_last_mean"], atol=3e-5)


# Other precisions and other forms


def save_quantized(checkpoint, path):
    quantized = {linear.name: quantize_linear(linear) for linear in checkpoint.weights.linears()}
    plan = PrecisionPlan(np.float16, np.float32, Int8Embeddings(), quantized)
    TARGETS["native"].save(checkpoint, plan, path)


@needs_native
@pytest.mark.parametrize("name", ["mean+max", "first_last_mean", "embedding_last_mean"])
def test_int8_of_the_native_engine(name, variant, tmp_path):
    checkpoint = load_checkpoint(str(variant()), pooling=name)
    save_quantized(checkpoint, tmp_path / "int8")
    expected = NumpyOracle(checkpoint).encode(SENTENCES, lambda _: None)
    found = NativeCpu(tmp_path / "int8", 2).run(token_ids(checkpoint))
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.995


@needs_native
@pytest.mark.parametrize("name", [*POOLINGS, "mean+max"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_gives_the_same_bytes_in_any_batch_with_any_threads(name, precision, base, tmp_path):
    checkpoint = load_checkpoint(str(base), pooling=name)
    file = tmp_path / "weights"
    if precision == "int8":
        save_quantized(checkpoint, file)
    else:
        TARGETS["native"].save(checkpoint, float_plan("fp32"), file)
    random = np.random.default_rng(0)
    lengths = [1, 2, 3, 7, 16, 33, 130, 5, 5, 90, 300, 12, 1]
    ids = [random.integers(0, 2000, size=n).astype(np.int32) for n in lengths]
    alone = NativeCpu(file, 1)
    expected = np.concatenate([alone.run([each]) for each in ids])
    for threads in (1, 2, 3):
        engine = NativeCpu(file, threads)
        np.testing.assert_array_equal(engine.run(ids), expected)
        np.testing.assert_array_equal(engine.run(ids[::-1])[::-1], expected)
        np.testing.assert_array_equal(np.concatenate([engine.run([each]) for each in ids]), expected)


@needs_native
def test_no_tokens_give_zeros_of_the_bundles_dimension(variant, tmp_path):
    checkpoint = load_checkpoint(str(variant({"pooling_mode": ["mean", "max"]}, DENSE["two"])))
    TARGETS["native"].save(checkpoint, float_plan("fp32"), tmp_path / "weights")
    vectors = NativeCpu(tmp_path / "weights", 2).run([np.array([], np.int32), np.array([2, 7, 3], np.int32)])
    assert vectors.shape == (2, 23)
    assert not vectors[0].any()
    assert vectors[1].any()


# Those that take the first token do so whether there is one or not.
@pytest.mark.parametrize(
    "pooling", [*(name for name in POOLINGS if name not in ("cls", "pooler")), "max+mean"]
)
@pytest.mark.parametrize("dialect", [OnnxRuntimeDialect, StandardDialect])
def test_graphs_give_zeros_for_a_text_of_no_tokens(pooling, dialect, base, tmp_path):
    checkpoint = load_checkpoint(str(base), pooling=pooling)
    options = GraphOptions(pooling, normalize=True)
    model = build_model(checkpoint.spec, checkpoint.weights, float_plan("fp32"), dialect, options)
    session = session_of(save_model(model, tmp_path / "model.onnx")[0])
    feed = {
        "input_ids": np.array([[101, 500, 102], [0, 0, 0]]),
        "attention_mask": np.array([[1, 1, 1], [0, 0, 0]]),
    }
    vectors = session.run(["sentence_embedding"], feed)[0]
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(vectors[1], 0)


def session_of(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("pooling", [*POOLINGS, "lasttoken+mean"])
def test_packed_graphs(pooling, base, tmp_path):
    checkpoint = load_checkpoint(str(base), pooling=pooling)
    options = GraphOptions(checkpoint.sentence_config.pooling, True, checkpoint.dense)
    dialect = CudaPackedDialect.twin
    if pooling == "max":
        with pytest.raises(UnsupportedModelError, match=r"'max'.*packed"):
            build_model(checkpoint.spec, checkpoint.weights, float_plan("fp32"), dialect, options)
        return
    model = build_model(checkpoint.spec, checkpoint.weights, float_plan("fp32"), dialect, options)
    file = save_model(model, tmp_path / "model.onnx")[0]
    engine = OnnxRuntimeCpu(file, 2, layout=PackedLayout(max_length=1))
    expected = NumpyOracle(checkpoint).encode(SENTENCES, lambda _: None)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(engine.run(token_ids(checkpoint)), expected, atol=1e-5)


def test_mean_and_cls_are_written_as_before(base, tmp_path):
    """The metadata of what all bundles had so far says nothing new, so that older engines read it."""
    for pooling in ("mean", "cls"):
        checkpoint = load_checkpoint(str(base), pooling=pooling)
        TARGETS["native"].save(checkpoint, float_plan("fp32"), tmp_path / "weights")
        content = (tmp_path / "weights").read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        assert header["__metadata__"]["pooling"] == pooling
        assert "dense" not in header["__metadata__"]
        assert not [name for name in header if name.startswith("dense")]


# What is refused


@pytest.mark.parametrize("modes", [["mean", "max"], ["weightedmean"]], ids=str)
def test_an_export_in_int8_is_searched_with_the_checkpoints_own_pooling(variant, few_texts, tmp_path, modes):
    folder = variant({"pooling_mode": modes})
    request = ExportRequest(
        str(folder), tmp_path / "bundle", ("fp32", "int8"), calibration=few_texts, gate=str(few_texts)
    )
    for artifact in export(request).manifest.artifacts:
        assert artifact.fidelity.enforced
        assert artifact.fidelity.mean_cosine >= 0.998


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode": "median"}, "median"),
        ({"pooling_mode": ["mean", "median"]}, r"mean \+ median"),
        ({"pooling_mode_median_tokens": True}, "pooling_mode_median_tokens"),
        ({"pooling_mode": []}, "none"),
        ({"pooling_mode": ["mean"] * 17}, "17"),
    ],
)
def test_unknown_poolings_are_refused_by_name(config, named, variant):
    folder = variant(config)
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["median", "", "mean+", "mean+pooler", "first_last_mean+max", "+"])
def test_unknown_names_are_refused(name, base):
    with pytest.raises(UnsupportedModelError, match="pooling"):
        load_checkpoint(str(base), pooling=name)


def test_an_unknown_strategy_of_uniem_is_refused(variant):
    folder = variant(uniem_pooling_strategy="last_median")
    with pytest.raises(UnsupportedModelError, match=r"last_median.*first_last_mean"):
        load_checkpoint(str(folder))


def test_an_unknown_name_on_the_command_line_is_refused(base, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(base), "--pooling", "median"])
    assert caught.value.code == 2
    assert "first_last_avg" in capsys.readouterr().err


def test_a_pooler_without_weights_is_refused(tiny_checkpoint):
    with pytest.raises(CheckpointError, match=r"pooler\.dense\.weight"):
        load_checkpoint(str(tiny_checkpoint), pooling="pooler")


HOSTILE = "os.system"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"activation_function": "my_package.Swish"}, "my_package.Swish"),
        ({"activation_function": HOSTILE}, HOSTILE),
        ({"activation_function": "torch.nn.modules.activation.Softmax"}, "Softmax"),
        ({"activation_function": ["tanh"]}, "tanh"),
        ({"use_residual": True}, "use_residual"),
        ({"module_input_name": "token_embeddings"}, "module_input_name"),
        ({"module_output_name": "elsewhere"}, "module_output_name"),
    ],
)
def test_variants_of_dense_are_refused_by_name(config, named, variant, monkeypatch):
    folder = variant({FLAGS["mean"]: True}, DENSE["tanh"])
    synthetic.update_json(folder / "2_Dense" / "config.json", **config)
    monkeypatch.setattr("importlib.import_module", lambda *_: pytest.fail("imported"))
    with pytest.raises(UnsupportedModelError, match=named):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"in_features": 65}, "in_features is 65"),
        ({"in_features": None}, "in_features"),
        ({"out_features": 41}, r"linear\.weight"),
        ({"out_features": 0}, "out_features"),
        ({"out_features": True}, "out_features"),
        ({"out_features": 10**9}, "out_features"),
    ],
)
def test_dense_of_another_shape_is_refused(config, named, variant):
    folder = variant({FLAGS["mean"]: True}, DENSE["tanh"])
    synthetic.update_json(folder / "2_Dense" / "config.json", **config)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("lacking", ["linear.weight", "linear.bias"])
def test_dense_without_a_tensor_is_refused(lacking, variant):
    folder = variant({FLAGS["mean"]: True}, DENSE["tanh"])
    file = folder / "2_Dense" / "model.safetensors"
    tensors = load_file(file)
    del tensors[lacking]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=lacking):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    "kinds",
    [
        ["Transformer", "Dense"],
        ["Transformer", "Dense", "Pooling"],
        ["Transformer", "Dropout", "Pooling"],
        ["Transformer", "WeightedLayerPooling"],
        ["Transformer", "Pooling", "WeightedLayerPooling"],
        ["Transformer", "Pooling", "Pooling"],
    ],
)
def test_other_orders_of_modules_are_refused(kinds, variant):
    folder = variant({FLAGS["mean"]: True})
    synthetic.write_json(folder / "modules.json", synthetic.modules_of(*kinds))
    with pytest.raises(UnsupportedModelError, match=" → ".join(kinds)):
        load_checkpoint(str(folder))
