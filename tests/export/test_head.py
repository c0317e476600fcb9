"""LayerNorm, Dropout, Normalize and WeightedLayerPooling, as sentence-transformers saves them."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import (
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    Transformer,
    WeightedLayerPooling,
)

import synthetic
from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.errors import CheckpointError, UnsupportedModelError
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.oracle.torch_oracle import TorchOracle
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime import Encoder, OptionError
from m3e_runtime.backends import native
from m3e_runtime.backends.native import NativeCpu

SENTENCES = [
    *("今天天气很好", "a", "", "How do I change the card linked to my account?", "字" * 90, "word " * 40)
]
HIDDEN, LAYERS = synthetic.TINY["hidden"], synthetic.TINY["layers"]
LEAST_COSINE = {"fp32": 0.999999, "fp16": 0.99999, "int8": 0.99}
TWINS = ("cuda", "cuda-packed")

needs_native = pytest.mark.skipif(native.missing() is not None, reason=str(native.missing()))


def layer_norm():
    module = LayerNorm(HIDDEN)
    torch.nn.init.normal_(module.norm.weight, 1, 0.3)
    torch.nn.init.normal_(module.norm.bias, 0, 0.3)
    return module


HEADS = {
    "layer norm": lambda: [layer_norm()],
    "dropout": lambda: [Dropout(0.5), Normalize()],
    "normalize twice": lambda: [Normalize(), Normalize()],
    "normalize before dense": lambda: [Normalize(), Dense(HIDDEN, 24, activation_function=torch.nn.ReLU())],
    "all": lambda: [
        *(Dropout(), layer_norm(), Normalize(), Dense(HIDDEN, 70, activation_function=torch.nn.GELU())),
        *(Normalize(), Normalize(), Dense(70, 20, activation_function=None), Dropout(), Normalize()),
    ],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return synthetic.make_checkpoint(tmp_path_factory.mktemp("base") / "base", **synthetic.TINY)


@pytest.fixture
def saved(base, tmp_path):
    """A model of sentence-transformers from modules after the transformer, saved; and its vectors."""

    def save(modules, folder=base, **config):
        torch.manual_seed(0)
        encoder = Transformer(str(folder), config_kwargs=config)
        model = SentenceTransformer(modules=[encoder, *modules()], device="cpu").eval()
        model.save_pretrained(str(tmp_path / "saved"))
        again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        return tmp_path / "saved", np.stack([again.encode(text) for text in SENTENCES])

    return save


def check_everything(folder, expected, tmp_path, few_texts):
    """Both oracles, every target that runs here in every precision, and the twins of graphs for a GPU."""
    checkpoint = load_checkpoint(str(folder))
    for oracle in (NumpyOracle(checkpoint), TorchOracle(checkpoint)):
        np.testing.assert_allclose(oracle.encode(SENTENCES, lambda _: None), expected, atol=2e-5)
    request = ExportRequest(
        str(folder),
        tmp_path / "bundle",
        ("fp32", "fp16", "int8"),
        ("native", "cpu", "portable"),
        calibration=few_texts,
        gate=str(few_texts),
    )
    bundle = export(request)
    assert len(bundle.manifest.artifacts) == 9
    for artifact in bundle.manifest.artifacts:
        found = Encoder.load(bundle.path, artifact=artifact.name).encode(SENTENCES)
        check_close(found, expected, artifact.precision)
    token_ids = checkpoint.text_tokenizer().encode_batch(SENTENCES)
    for name, precision in ((name, precision) for name in TWINS for precision in ("fp32", "fp16")):
        plan = float_plan(precision, half_arithmetic=True)
        path = TARGETS[name].save_twin(checkpoint, plan, tmp_path / f"{name}-{precision}.onnx")[0]
        check_close(
            TARGETS[name].load(path, 2).run(token_ids), expected, "fp16" if precision == "fp16" else "fp32"
        )
    return bundle


def check_close(found, expected, precision):
    assert found.shape == expected.shape
    products = (found * expected).sum(axis=1)
    cosines = products / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= LEAST_COSINE[precision]
    if precision == "fp32":
        np.testing.assert_allclose(found, expected, atol=3e-5)


@pytest.mark.parametrize("name", HEADS)
def test_modules_after_the_pooling(name, saved, base, tmp_path, few_texts):
    folder, expected = saved(lambda: [Pooling(HIDDEN), *HEADS[name]()])
    bundle = check_everything(folder, expected, tmp_path, few_texts)
    assert bundle.manifest.normalize is ("Normalize" in str(HEADS[name]()[-1]))
    # With the encoder's weights beside them, the modules of the bundle are the model again.
    save_file(load_file(base / "model.safetensors"), bundle.path / "model.safetensors", {"format": "pt"})
    again = SentenceTransformer(str(bundle.path), device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(again, expected, atol=3e-5)


def weighted(start, pooling="mean"):
    weights = torch.nn.Parameter(torch.linspace(0.5, 2.0, LAYERS + 1 - start))
    module = WeightedLayerPooling(HIDDEN, num_hidden_layers=LAYERS, layer_start=start, layer_weights=weights)
    return lambda: [module, Pooling(HIDDEN, pooling_mode=pooling)]


@pytest.mark.parametrize("start", range(LAYERS + 1))
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_weighted_layers(start, pooling, saved, tmp_path, few_texts):
    folder, expected = saved(weighted(start, pooling), output_hidden_states=True)
    bundle = check_everything(folder, expected, tmp_path, few_texts)
    assert not (bundle.path / "modules.json").exists()  # the states that it needs are in no graph


@pytest.mark.parametrize("family", ["albert", "mpnet"])
def test_weighted_layers_of_other_families(family, saved, tmp_path, few_texts):
    source = make_family(tmp_path / "model", family)
    config = synthetic.read_json(source / "config.json")
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    weights = torch.nn.Parameter(torch.linspace(-0.5, 2.0, layers + 1))

    def modules():
        module = WeightedLayerPooling(hidden, num_hidden_layers=layers, layer_start=0, layer_weights=weights)
        return [module, Pooling(hidden), Normalize()]

    folder, expected = saved(modules, source, output_hidden_states=True)
    checkpoint = load_checkpoint(str(folder))
    for name in ("native", "cpu", "portable"):
        if name == "native" and native.missing():
            continue
        path = TARGETS[name].save(checkpoint, float_plan("fp32"), tmp_path / f"{name}.model")[0]
        found = TARGETS[name].load(path, 2).run(checkpoint.text_tokenizer().encode_batch(SENTENCES))
        np.testing.assert_allclose(found, expected, atol=3e-5)


@needs_native
def test_weighted_layers_are_the_vectors_of_tokens(saved, tmp_path):
    folder, _ = saved(weighted(0), output_hidden_states=True)
    bundle = export(
        ExportRequest(str(folder), tmp_path / "bundle", targets=("native", "cpu"), gate="off")
    ).path
    expected = SentenceTransformer(str(folder), device="cpu").encode(
        SENTENCES, output_value="token_embeddings"
    )
    for found, theirs in zip(Encoder.load(bundle).encode_tokens(SENTENCES), expected, strict=True):
        np.testing.assert_allclose(found, theirs.numpy(), atol=3e-5)
    with pytest.raises(OptionError, match=r"'fp32-cpu' gives vectors of texts.*fp32-native"):
        Encoder.load(bundle, backend="onnxruntime").encode_tokens(SENTENCES)


def test_weighted_layers_without_all_states_do_nothing_as_in_sentence_transformers(saved, caplog):
    folder, expected = saved(weighted(0))
    checkpoint = load_checkpoint(str(folder))
    assert "output_hidden_states" in caplog.text
    assert checkpoint.state_weights is None
    np.testing.assert_allclose(NumpyOracle(checkpoint).encode(SENTENCES, lambda _: None), expected, atol=2e-5)


@needs_native
def test_weighted_layers_give_the_same_bytes_in_any_batch_with_any_threads(saved, tmp_path):
    folder, _ = saved(weighted(0), output_hidden_states=True)
    checkpoint = load_checkpoint(str(folder))
    checkpoint = dataclasses.replace(checkpoint, dense=())
    TARGETS["native"].save(checkpoint, float_plan("fp32"), tmp_path / "weights")
    random = np.random.default_rng(0)
    ids = [
        random.integers(0, 2000, size=n).astype(np.int32) for n in (1, 2, 3, 7, 33, 130, 5, 90, 300, 12, 1)
    ]
    expected = np.concatenate([NativeCpu(tmp_path / "weights", 1).run([each]) for each in ids])
    for threads in (1, 2, 3):
        engine = NativeCpu(tmp_path / "weights", threads)
        np.testing.assert_array_equal(engine.run(ids), expected)
        np.testing.assert_array_equal(np.concatenate([engine.run([each]) for each in ids]), expected)


@pytest.mark.parametrize("pooling", ["pooler", "first_last_avg", "embedding_last_mean"])
def test_poolings_of_other_states_are_refused_after_weighted_layers(pooling, saved):
    folder, _ = saved(weighted(0), output_hidden_states=True)
    with pytest.raises(UnsupportedModelError, match=f"{pooling}.*WeightedLayerPooling"):
        load_checkpoint(str(folder), pooling=pooling)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer_start": LAYERS + 1}, "layer_start"),
        ({"layer_start": -1}, "layer_start"),
        ({"layer_start": "0"}, "layer_start"),
        ({"layer_start": 1}, "layer_weights"),
        ({"num_hidden_layers": 12}, "num_hidden_layers is 12"),
    ],
)
def test_weighted_layers_that_do_not_fit_are_refused(changes, named, saved):
    folder, _ = saved(weighted(0), output_hidden_states=True)
    synthetic.update_json(folder / "1_WeightedLayerPooling" / "config.json", **changes)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(folder))


def test_weights_of_layers_whose_sum_is_zero_are_refused(saved):
    folder, _ = saved(weighted(0), output_hidden_states=True)
    weights = np.array([1, -1, 0], np.float32)
    save_file({"layer_weights": weights}, folder / "1_WeightedLayerPooling" / "model.safetensors")
    with pytest.raises(CheckpointError, match="sum of layer_weights"):
        load_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("changes", "named"), [({"dimension": 65}, "dimension is 65"), ({"dimension": None}, "dimension")]
)
def test_a_layer_norm_of_another_width_is_refused(changes, named, saved):
    folder, _ = saved(lambda: [Pooling(HIDDEN), layer_norm()])
    synthetic.update_json(folder / "2_LayerNorm" / "config.json", **changes)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(str(folder))


@pytest.mark.parametrize("lacking", ["norm.weight", "norm.bias"])
def test_a_layer_norm_without_a_tensor_is_refused(lacking, saved):
    folder, _ = saved(lambda: [Pooling(HIDDEN), layer_norm()])
    file = folder / "2_LayerNorm" / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if name != lacking}
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=lacking):
        load_checkpoint(str(folder))


def test_too_many_modules_are_refused(saved):
    folder, _ = saved(lambda: [Pooling(HIDDEN), *(layer_norm() for _ in range(17))])
    with pytest.raises(UnsupportedModelError, match="17 modules"):
        load_checkpoint(str(folder))
