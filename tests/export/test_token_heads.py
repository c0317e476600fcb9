"""The linear layers of bge-m3 in checkpoints, and the gate for what they give."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from m3e_export import BelowGateError, CheckpointError, ExportRequest, UnsupportedModelError, export
from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import as_json, report
from m3e_export.errors import UntrustedCheckpointError
from m3e_export.hubs.wanted import is_wanted, patterns
from m3e_export.report.token_table import token_section
from m3e_export.token_gate import GateTokens, judge_tokens, places_judged
from m3e_runtime import Bundle
from m3e_runtime.token_outputs import SparseVector

torch = pytest.importorskip("torch")


@pytest.fixture
def checkpoint(bge_m3_checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(bge_m3_checkpoint, folder)
    return folder


def test_special_tokens_are_left_out_and_one_of_the_files_is_enough(checkpoint):
    heads = load_checkpoint(str(checkpoint)).token_heads
    assert heads.left_out == (0, 1, 2, 3)  # <s>, <pad>, </s>, <unk>
    assert heads.unit_length
    (checkpoint / "colbert_linear.pt").unlink()
    outputs = load_checkpoint(str(checkpoint)).token_heads.outputs()
    assert (outputs.sparse is not None, outputs.multi_vector) == (True, None)
    (checkpoint / "sparse_linear.pt").unlink()
    assert load_checkpoint(str(checkpoint)).token_heads is None


def test_a_folder_of_flagembedding_is_loaded_as_its_library_does(checkpoint):
    (checkpoint / "modules.json").unlink()
    shutil.rmtree(checkpoint / "1_Pooling")
    settings = load_checkpoint(str(checkpoint)).sentence_config
    assert (settings.pooling, settings.normalize) == ("cls", True)


class Harmful:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(1, 64)}, "has weight, not weight and bias"),
        ({"weight": torch.ones(1, 64), "bias": torch.ones(1), "more": torch.ones(1)}, "not weight and bias"),
        ({"weight": torch.ones(1, 65), "bias": torch.ones(1)}, "no linear layer of 64 inputs"),
        ({"weight": torch.ones(64), "bias": torch.ones(1)}, "no linear layer"),
        ({"weight": torch.ones(2, 64), "bias": torch.ones(2)}, "gives 2 numbers"),
        ({"weight": torch.ones(0, 64), "bias": torch.ones(0)}, "0 outputs"),
        ({"weight": torch.full((1, 64), torch.nan), "bias": torch.ones(1)}, "NaN"),
        ([1, 2], "not a state dict"),
    ],
)
def test_other_files_are_refused(checkpoint, state, message):
    torch.save(state, checkpoint / "sparse_linear.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(str(checkpoint))


def test_code_in_a_file_is_not_run(checkpoint, capsys):
    torch.save({"weight": Harmful()}, checkpoint / "sparse_linear.pt")
    with pytest.raises(UntrustedCheckpointError, match=r"sparse_linear\.pt: not a plain pickle"):
        load_checkpoint(str(checkpoint))
    assert "code ran" not in capsys.readouterr().out


def test_the_files_are_downloaded_even_beside_safetensors():
    names = [
        "model.safetensors",
        "pytorch_model.bin",
        "sparse_linear.pt",
        "colbert_linear.pt",
        "training_args.bin",
    ]
    wanted = [name for name in names if is_wanted(name, patterns(names))]
    assert wanted == ["model.safetensors", "sparse_linear.pt", "colbert_linear.pt"]


def random_outputs(noise):
    random = np.random.default_rng(0)
    sparse, vectors = [], []
    for _ in range(12):
        weights = {int(key): float(abs(value)) for key, value in enumerate(random.normal(size=30))}
        moved = {key: value + noise * random.random() for key, value in weights.items()}
        sparse.append(SparseVector.of_dict(moved))
        rows = random.normal(size=(5, 8)) + noise * random.normal(size=(5, 8))
        vectors.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return GateTokens.of(places_judged(12), sparse, vectors)


def test_the_gate_measures_what_changes():
    oracle = random_outputs(0)
    same = judge_tokens(oracle, oracle, "fp32")
    assert same.problems == ()
    assert (same.fidelity.sparse.mean_cosine, same.fidelity.multi_vector.order_kept) == (1, 1)
    other = judge_tokens(oracle, random_outputs(2), "int8")
    assert [problem.split(" ")[1] for problem in other.problems] == ["mean_cosine", "order_kept"]
    broken = GateTokens(oracle.places, oracle.sparse, tuple(each * np.nan for each in oracle.multi_vector))
    assert judge_tokens(oracle, broken, "fp32").problems == ("its outputs of tokens are not finite numbers",)


def test_an_artifact_below_the_gate_is_not_kept(bge_m3_checkpoint, few_texts, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from m3e_runtime.backends import token_heads

    monkeypatch.setattr(token_heads, "normalize", lambda rows: rows + 1)
    monkeypatch.setattr(token_heads, "_linear", lambda layer, states: -(states @ layer[:-1] + layer[-1]))
    request = ExportRequest(
        str(bge_m3_checkpoint), tmp_path / "bundle", targets=("cpu",), gate=str(few_texts)
    )
    with pytest.raises(BelowGateError, match=r"sparse mean_cosine .*multi_vector order_kept"):
        export(request)
    assert not (tmp_path / "bundle").exists()


def test_the_report_has_each_measure_with_its_threshold(bge_m3_bundle):
    artifact = Bundle.open(bge_m3_bundle).manifest.artifacts[0]
    good = SimpleNamespace(artifact=artifact.name, token_fidelity=artifact.token_fidelity)
    found = judge_tokens(random_outputs(0), random_outputs(2), "int8").fidelity
    bad = SimpleNamespace(artifact="other", token_fidelity=found)
    page = str(token_section([good, bad], dense=True))
    for words in ("sparse: mean cosine", "top 100", "MaxSim orders kept", "largest difference"):
        assert words in page
    assert "≥ 0.9999" in page
    assert page.count("✗") == 2
    assert f"✗ {found.multi_vector.order_kept:.4f}" in page
    assert "no vectors of texts" not in page
    assert token_section([SimpleNamespace(artifact="none", token_fidelity=None)], dense=True) is None


def test_a_graph_for_gpus_gives_the_dense_vector_only(bge_m3_checkpoint, few_texts, tmp_path):
    pytest.importorskip("onnxruntime")
    request = ExportRequest(
        str(bge_m3_checkpoint), tmp_path / "bundle", targets=("cuda",), gate=str(few_texts)
    )
    manifest = export(request).manifest
    assert (manifest.token_outputs, manifest.artifacts[0].token_fidelity) == (None, None)


def test_the_command_prints_what_the_gate_measured(bge_m3_bundle):
    bundle = Bundle.open(bge_m3_bundle)
    printed = report(bundle)
    assert printed.count("MaxSim order kept") == len(bundle.manifest.artifacts)
    first = as_json(bundle)["artifacts"][0]["token_fidelity"]
    assert first["sparse"]["mean_cosine"] == pytest.approx(1, abs=1e-4)
    assert first.keys() == {"texts", "sparse", "multi_vector"}


def test_other_encoders_are_refused_by_name(checkpoint):
    (checkpoint / "config_sentence_transformers.json").write_text('{"model_type": "OtherEncoder"}')
    with pytest.raises(UnsupportedModelError, match="OtherEncoder"):
        load_checkpoint(str(checkpoint))
