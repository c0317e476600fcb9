"""What half precision cannot hold: the matrix is named, stays in float32, and the rest goes on."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import main
from m3e_export.errors import BelowGateError, CheckpointError, UnsupportedModelError
from m3e_export.gate import Gate
from m3e_export.generic.judge import judge_run
from m3e_export.graph import GraphOptions, build_model
from m3e_export.graph.dialects import TensorRtPackedDialect
from m3e_export.inputs import ModelInputs
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.precision.half import overflowing, rounded_to_bfloat16, too_large, widened
from m3e_export.precision.search import float_plan
from m3e_export.targets import TARGETS
from m3e_runtime import Bundle
from m3e_runtime.outputs import normalize
from random_encoders import random_encoder
from synthetic import TINY, make_checkpoint, rewrite_tensors

LAYER = "encoder.layer.0"
QUERY = f"{LAYER}.attention.self.query.weight"
VALUE = f"{LAYER}.attention.self.value.weight"
INTERMEDIATE = f"{LAYER}.intermediate.dense.weight"
OUTPUT = f"{LAYER}.output.dense.weight"
WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
GAMMA = f"{LAYER}.output.LayerNorm.weight"

HALF_ARITHMETIC = ("portable", "cuda", "cuda-packed")


@pytest.fixture
def scaled(tmp_path):
    """A tiny checkpoint with one tensor times a factor."""

    def make(name, factor):
        folder = make_checkpoint(tmp_path / "model", **TINY)
        tensors = load_file(folder / "model.safetensors")
        rewrite_tensors(folder, **{name.replace(".", "__"): tensors[name] * np.float32(factor)})
        return folder

    return make


def artifact_of(bundle, precision, target):
    return next(each for each in bundle.manifest.artifacts if each.name == f"{precision}-{target}")


@pytest.mark.parametrize("target", ["native", "cpu", *HALF_ARITHMETIC])
def test_a_weight_beyond_half_precision_stays_in_float32(scaled, few_texts, tmp_path, target, caplog):
    checkpoint, out = scaled(OUTPUT, 1e7), tmp_path / "bundle"
    arguments = [str(checkpoint), "-o", str(out), "--gate", str(few_texts), "--precision", "fp16"]
    assert main([*arguments, "--target", target]) == 0
    assert "beyond half precision, and kept in float32: layer.0.output" in caplog.text
    artifact = artifact_of(Bundle.open(out), "fp16", target)
    assert "layer.0.output" in artifact.kept
    assert artifact.mix == {"float16": 8 - len(artifact.kept), "float32": len(artifact.kept)}
    assert artifact.fidelity.min_cosine >= 0.9995


@pytest.mark.parametrize("target", HALF_ARITHMETIC)
@pytest.mark.parametrize(
    ("tensor", "factor", "name"),
    [
        (INTERMEDIATE, 1e5, "layer.0.intermediate"),
        (OUTPUT, 2e5, "layer.0.output"),
        (VALUE, 2e5, "layer.0.qkv"),
        (GAMMA, 5e4, "layer.1.qkv"),
    ],
)
def test_activations_beyond_half_precision_are_computed_in_float32(
    scaled, exported, target, tensor, factor, name
):
    checkpoint = scaled(tensor, factor)
    assert too_large(load_checkpoint(str(checkpoint)).weights) == frozenset()
    bundle = exported(checkpoint, precisions=("fp16",), targets=(target,))
    artifact = artifact_of(bundle, "fp16", target)
    assert name in artifact.kept
    assert artifact.mix["float32"] == len(artifact.kept) < 8
    assert artifact.fidelity.min_cosine >= 0.9995


@pytest.mark.parametrize("target", ["native", "cpu", "portable", "cuda"])
@pytest.mark.parametrize("tensor", [WORDS, POSITIONS])
def test_embeddings_beyond_half_precision(scaled, exported, target, tensor):
    bundle = exported(scaled(tensor, 1e7), precisions=("fp16",), targets=(target,))
    artifact = artifact_of(bundle, "fp16", target)
    assert artifact.kept == ()
    assert artifact.mix == {"float16": 8}
    assert artifact.fidelity.min_cosine >= 0.9995


@pytest.mark.parametrize("pooling", ["first_last_avg", "last_avg"])
def test_poolings_of_earlier_states(scaled, exported, pooling):
    """What they take may be of another type than what leaves the last layer."""
    bundle = exported(scaled(INTERMEDIATE, 1e5), precisions=("fp16",), targets=("portable",), pooling=pooling)
    assert artifact_of(bundle, "fp16", "portable").fidelity.min_cosine >= 0.9995


@pytest.mark.parametrize("tensor", [OUTPUT, POSITIONS])
def test_int8_beside_what_half_precision_cannot_hold(scaled, exported, tensor):
    bundle = exported(scaled(tensor, 1e7), precisions=("int8",), targets=("cpu",), gate="off")
    fidelity = artifact_of(bundle, "int8", "cpu").fidelity
    assert np.isfinite(fidelity.mean_cosine)
    assert fidelity.mean_cosine > 0.9


@pytest.fixture(params=[INTERMEDIATE, VALUE])
def overflowing_plan(request, scaled, texts):
    """A checkpoint whose activations overflow, the plan that holds them, and token ids of eight texts."""
    checkpoint = load_checkpoint(str(scaled(request.param, 2e5)))
    token_ids = checkpoint.text_tokenizer().encode_batch(texts[:8])
    wide = overflowing(checkpoint, ModelInputs(token_ids), lambda count: None)
    assert wide
    return checkpoint, widened(float_plan("fp16", half_arithmetic=True), wide), token_ids


def test_a_graph_for_tensorrt_gives_the_vectors_of_the_original(overflowing_plan, texts, tmp_path):
    """It is run without TensorRT."""
    checkpoint, plan, token_ids = overflowing_plan
    target, file = TARGETS["tensorrt"], tmp_path / "model.onnx"
    target.save(checkpoint, plan, file)
    engine = target.load(file, 1)
    found = normalize(np.concatenate([engine.run([ids]) for ids in token_ids]))
    expected = normalize(NumpyOracle(checkpoint).encode(texts[:8], lambda count: None))
    assert (found * expected).sum(axis=1).min() > 0.9995


def test_packed_attention_in_tensorrt_is_for_half_precision_only(overflowing_plan):
    checkpoint, plan, _ = overflowing_plan
    layout = checkpoint.sentence_config
    options = GraphOptions(layout.pooling, layout.normalize, checkpoint.dense)
    with pytest.raises(UnsupportedModelError, match="beyond half precision"):
        build_model(checkpoint.spec, checkpoint.weights, plan, TensorRtPackedDialect, options)


def test_a_graph_of_torch_says_what_it_keeps(scaled, exported):
    pytest.importorskip("onnxscript", reason="torch.onnx writes its graphs with it")
    bundle = exported(scaled(OUTPUT, 1e7), precisions=("fp16",), exporter="torch")
    artifact = artifact_of(bundle, "fp16", "torch")
    assert artifact.mix["float32"] == len(artifact.kept) == 1


@pytest.mark.parametrize("gate", ["off", None])
def test_vectors_that_are_not_numbers_are_never_written(tiny_checkpoint, exported, monkeypatch, gate):
    monkeypatch.setattr(
        "m3e_export.own.artifacts.artifact_vectors",
        lambda target, file, token_ids, label, prompt=0: np.full((len(token_ids), 64), np.nan, np.float32),
    )
    options = {} if gate is None else {"gate": gate}
    with pytest.raises(BelowGateError, match="not finite"):
        exported(tiny_checkpoint, targets=("cpu",), **options)


def test_an_original_that_overflows_itself_is_told(scaled, exported):
    checkpoint = scaled(QUERY, 1e38)
    with pytest.raises(CheckpointError, match="original model gives vectors that are not finite"):
        exported(checkpoint, oracle="numpy")


def test_nothing_changes_where_nothing_overflows(tiny_checkpoint, texts):
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    token_ids = checkpoint.text_tokenizer().encode_batch(texts[:8])
    assert (
        too_large(checkpoint.weights)
        == overflowing(checkpoint, ModelInputs(token_ids), lambda count: None)
        == frozenset()
    )


@pytest.mark.parametrize(("alone", "together"), [(np.nan, 1), (1, np.inf)])
def test_a_graph_of_another_exporter_that_gives_no_numbers_is_refused(alone, together):
    def vectors(value):
        return np.full((3, 4), value, np.float32)

    gate = Gate(("a", "b", "c"), "an oracle", vectors(1), enforced=False)
    run = SimpleNamespace(alone=vectors(alone), together=vectors(together))
    verdict = judge_run(gate, run, "fp16")
    assert verdict.comparison is None
    assert "not finite" in verdict.problems[0]


def test_rounding_to_bfloat16_is_to_the_nearest_and_stays_finite():
    halves = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 5 * 2**-9), 65504, -65504, 2**-24, 0], np.float16)
    expected = np.array([1, 1, 1 + 2**-6, -(1 + 2**-7), 65280, -65280, 2**-24, 0], np.float32)
    np.testing.assert_array_equal(rounded_to_bfloat16(halves).astype(np.float32), expected)


def test_residual_sums_that_grow_from_layer_to_layer():
    """Where normalization comes first, only the sums are large, and neither they nor their parts before."""
    spec, weights = random_encoder("modernbert")
    first, *others = weights.layers
    larger = dataclasses.replace(first.output, weight=first.output.weight * np.float32(2e5))
    layers = (dataclasses.replace(first, output=larger), *others)
    checkpoint = SimpleNamespace(spec=spec, weights=dataclasses.replace(weights, layers=layers))
    inputs = ModelInputs([np.arange(5, 30, dtype=np.int32)])
    assert overflowing(checkpoint, inputs, lambda _: None) == {
        each.name for each in checkpoint.weights.linears()
    }
    same = SimpleNamespace(spec=spec, weights=weights)
    assert overflowing(same, inputs, lambda _: None) == frozenset()
