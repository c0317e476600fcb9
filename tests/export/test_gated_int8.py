"""Int8 of gated feed-forward parts: outliers in the product, and smoothing that costs nothing."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from families import make_family
from m3e_export import ExportRequest, export
from m3e_export.architectures import Linear
from m3e_export.oracle.numpy_forward import silu
from m3e_export.precision.int8 import quantize_linear
from m3e_export.precision.smoothing import fold_smoothing
from synthetic import rewrite_tensors

CHANNELS, WIDTH, LAYERS = [3, 17, 40], 128, 2
TARGETS = ("native", "cpu", "portable")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A ModernBERT whose gated products have channels a hundred times as large as the others.

    The next matrix divides by as much: in float, the vectors stay the same.
    """
    folder = make_family(tmp_path_factory.mktemp("outliers") / "model", "modernbert")
    tensors = load_file(folder / "model.safetensors")
    changes = {}
    for layer in range(LAYERS):
        factors, output = (f"layers.{layer}.mlp.{name}.weight" for name in ("Wi", "Wo"))
        tensors[factors][np.add(CHANNELS, WIDTH)] *= 100
        tensors[output][:, CHANNELS] /= 100
        changes |= {name.replace(".", "__"): tensors[name] for name in (factors, output)}
    rewrite_tensors(folder, **changes)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint, few_texts, tmp_path_factory):
    output = tmp_path_factory.mktemp("bundle") / "bundle"
    gate, calibration = str(few_texts), few_texts
    return export(
        ExportRequest(str(checkpoint), output, ("int8",), targets=TARGETS, gate=gate, calibration=calibration)
    )


@pytest.mark.parametrize("target", TARGETS)
def test_outliers_of_gated_products_pass_the_gate_in_int8(exported, target):
    """Without smoothing, the least cosine is 0.9995."""
    artifact = next(each for each in exported.manifest.artifacts if each.name == f"int8-{target}")
    assert artifact.mix == {"int8": 4 * LAYERS}
    assert artifact.fidelity.min_cosine >= 0.9999


def test_the_smoothing_of_gated_products_is_in_the_scales_of_their_factors(exported):
    artifact = next(each for each in exported.manifest.artifacts if each.name == "int8-native")
    names = load_file(exported.path / artifact.files[0].path)
    smoothed = {name.split(".")[-2] for name in names if name.endswith(".smoothing")}
    assert "qkv" in smoothed
    assert not smoothed & {"output", "attention_output"}


def test_folded_smoothing_gives_the_same_gated_product():
    random = np.random.default_rng(0)
    hidden, width = 8, 12

    def linear(name, inputs, outputs):
        weight = random.standard_normal((inputs, outputs)).astype(np.float32)
        return Linear(name, weight, random.standard_normal(outputs).astype(np.float32))

    factors = np.exp(random.standard_normal(width)).astype(np.float32)
    first = quantize_linear(linear("intermediate", hidden, 2 * width))
    second = quantize_linear(linear("output", width, hidden), factors)

    def gated(first, second):
        wide = x @ (first.codes * first.scales) + first.bias
        product = silu(wide[:, :width].copy()) * wide[:, width:]
        smoothed = product if second.smoothing is None else product * second.smoothing
        return smoothed @ (second.codes * second.scales) + second.bias

    x = random.standard_normal((5, hidden)).astype(np.float32)
    folded = fold_smoothing(first, second)
    assert folded[1].smoothing is None
    np.testing.assert_allclose(gated(*folded), gated(first, second), rtol=1e-4, atol=1e-4)
