"""Positions that skip padding, in TensorRT."""

from collections import Counter

import pytest

from families import make_family
from m3e_export.checkpoint import load_checkpoint
from m3e_export.graph import GraphOptions, build_model, save_model
from m3e_export.graph.dialects import TensorRtDialect, TensorRtPackedDialect
from m3e_export.precision.search import float_plan
from m3e_runtime.gpu.tensorrt import EngineOptions, build_engine, default_profiles
from m3e_runtime.gpu.tensorrt.build import parse_graph
from m3e_runtime.gpu.tensorrt.monitor import make_logger


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    folder = make_family(tmp_path_factory.mktemp("roberta") / "model", "roberta")
    return load_checkpoint(str(folder))


def save_graph(checkpoint, dialect, path):
    plan, options = float_plan("fp16", half_arithmetic=True), GraphOptions("mean", normalize=True)
    return save_model(build_model(checkpoint.spec, checkpoint.weights, plan, dialect, options), path)[0]


@pytest.mark.parametrize("dialect", [TensorRtDialect, TensorRtPackedDialect])
def test_tokens_are_counted_without_a_loop(rtx, roberta, dialect, tmp_path):
    """A loop over the tokens would take longer than the model."""
    log = make_logger(rtx)
    builder = rtx.module.Builder(log)
    network, parser = parse_graph(rtx, builder, save_graph(roberta, dialect, tmp_path / "model.onnx"), log)
    kinds = Counter(network.get_layer(index).type.name for index in range(network.num_layers))
    del parser
    assert kinds["CUMULATIVE"] == 1
    assert not {"TRIP_LIMIT", "RECURRENCE", "LOOP_OUTPUT"} & set(kinds)


@pytest.mark.parametrize("dialect", [TensorRtDialect, TensorRtPackedDialect.twin])
def test_the_graph_becomes_an_engine(rtx, roberta, dialect, tmp_path):
    graph = save_graph(roberta, dialect, tmp_path / "model.onnx")
    profiles = default_profiles(roberta.max_length, dialect.texts_type.layout)
    built = build_engine(rtx, graph, EngineOptions(profiles, compute_capabilities=("8.9",)))
    assert built.plan
