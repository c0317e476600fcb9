"""Rerankers and classifiers of every family, in every form that a CPU runs, against transformers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from families import FAMILIES, LONGEST, make_classifier
from m3e_export.checkpoint import load_checkpoint
from m3e_export.inputs import model_inputs
from m3e_export.oracle import load_score_oracle
from m3e_export.precision.calibration import calibrate
from m3e_export.precision.search import Int8Search, float_plan
from m3e_export.targets import TARGETS

LABELS = 3
MOST = {"fp32": 1e-4, "fp16": 1e-2, "bfloat16": 1e-2, "int8": 0.05}
"""The largest difference of a logit."""
TARGET_NAMES = ("native", "cpu", "portable", "cuda", "cuda-packed", "tensorrt")
ARTIFACTS = tuple(
    "-".join(each)
    for each in itertools.product(MOST, TARGET_NAMES)
    if each not in (("int8", "cuda"), ("int8", "cuda-packed"))
    and (each[0] != "bfloat16" or each[1] == "native")
)
NAMES = [name for name in FAMILIES if name not in ("ernie without tasks", "distilbert, sinusoids")]
FAMILY = pytest.mark.parametrize("family", NAMES)

QUERIES = ["天气怎么样", "weather", "Café 한국어 العربية the weather is good", "a", "good " * 90]
PASSAGES = ["今天天气很好,适合出门。", "the weather is good today " * 3, "b", "", "the weather " * 90]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of three labels of each family. Read only."""
    folder = tmp_path_factory.mktemp("classifiers")
    return {name: make_classifier(folder / name, name, LABELS) for name in NAMES}


@pytest.fixture(scope="module")
def checkpoints(folders):
    return {name: load_checkpoint(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def expected(folders):
    return {name: logits(folder, LONGEST[name]) for name, folder in folders.items()}


def logits(folder, longest, passages=PASSAGES):
    """What transformers computes for the pairs, or for the queries alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    limits = {"truncation": True, "max_length": longest, "return_tensors": "pt"}
    with torch.inference_mode():
        rows = [
            # Lists: of two strings, an empty second one would be left out.
            model(**tokenizer([query], passages[place : place + 1] or None, **limits)).logits[0]
            for place, query in enumerate(QUERIES)
        ]
    return torch.stack(rows).numpy()


def run(checkpoint, artifact, folder, passages=PASSAGES):
    """Logits of the artifact, or of what the gate runs in place of one for a GPU; all in one batch."""
    precision, name = artifact.split("-", 1)
    target = TARGETS[name]
    plan = plan_of(checkpoint, precision, target)
    save = target.save_twin if target.has_twin else target.save
    inputs = model_inputs(checkpoint, QUERIES, passages)
    engine = target.load(save(checkpoint, plan, folder / "artifact")[0], 1, inputs.types is not None)
    return engine.run(inputs.ids, None, inputs.types)


def plan_of(checkpoint, precision, target):
    """What ``m3e-export`` tries first, but for the search of smoothing strengths."""
    if precision == "bfloat16":
        return dataclasses.replace(float_plan("fp16"), bfloat16=True)
    if precision != "int8":
        return float_plan(precision, half_arithmetic=target.half_arithmetic)
    search = Int8Search(checkpoint, calibration_of(str(checkpoint.folder)), target.int8, no_trial)
    return next(search.plans(lambda done: None))


def no_trial(plan, inputs):
    return np.zeros((len(inputs), LABELS), np.float32)


@functools.cache
def calibration_of(folder):
    checkpoint = load_checkpoint(folder)
    inputs = model_inputs(checkpoint, QUERIES, PASSAGES)
    return calibrate(checkpoint, inputs, lambda done: None, Path(folder).parent)


@FAMILY
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_logits_are_those_of_transformers(family, artifact, checkpoints, expected, tmp_path, matrix):
    found = run(checkpoints[family], artifact, tmp_path)
    worst = float(np.abs(found - expected[family]).max())
    assert worst <= MOST[artifact.split("-")[0]]
    # Roundings differ with the processor: a written number is good for three times as much.
    matrix("classifiers").check(
        family, artifact, f"{worst:.0e}", lambda written: worst <= 3 * float(written) + 1e-6
    )


@FAMILY
def test_one_label(family, tmp_path):
    folder = make_classifier(tmp_path / "model", family, 1)
    checkpoint = load_checkpoint(str(folder))
    assert (checkpoint.dimension, checkpoint.classification.activation) == (1, "sigmoid")
    found = run(checkpoint, "fp32-native", tmp_path)
    np.testing.assert_allclose(found, logits(folder, LONGEST[family]), atol=1e-5, rtol=0)


@FAMILY
def test_the_numpy_oracle_agrees(family, checkpoints, expected):
    ticks = []
    found = load_score_oracle(checkpoints[family], "numpy").logits(QUERIES, PASSAGES, ticks.append)
    np.testing.assert_allclose(found, expected[family], atol=1e-5, rtol=0)
    assert sum(ticks) == len(QUERIES)


def test_only_tokenizers_of_bert_give_token_types(checkpoints):
    having = {name for name, checkpoint in checkpoints.items() if checkpoint.classification.token_types}
    assert having == {"bert", "ernie", "albert, groups", "nomic_bert"}


@pytest.mark.parametrize("artifact", ["fp32-native", "fp32-portable", "fp32-cuda-packed"])
def test_texts_alone_have_one_type(artifact, folders, checkpoints, tmp_path):
    found = run(checkpoints["bert"], artifact, tmp_path, passages=())
    np.testing.assert_allclose(found, logits(folders["bert"], 128, passages=()), atol=1e-5, rtol=0)


def test_token_types_matter(checkpoints, tmp_path):
    """Else nothing above would show that they are right."""
    checkpoint = checkpoints["bert"]
    plan, target, file = float_plan("fp32"), TARGETS["native"], tmp_path / "artifact"
    inputs = model_inputs(checkpoint, QUERIES, PASSAGES)
    engine = target.load(target.save(checkpoint, plan, file)[0], 1)
    assert np.abs(engine.run(inputs.ids, None, inputs.types) - engine.run(inputs.ids)).max() > 0.1


def test_more_than_two_types(tmp_path):
    """ERNIE of the tests has four; a tokenizer gives two, but an engine takes all."""
    folder = make_classifier(tmp_path / "model", "ernie", 2)
    checkpoint, ids = load_checkpoint(str(folder)), np.arange(5, 13, dtype=np.int32)
    types = np.array([0, 1, 2, 3, 3, 2, 1, 0], np.int32)
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        given = [torch.from_numpy(each.astype(np.int64))[None] for each in (ids, types)]
        expected = model(input_ids=given[0], token_type_ids=given[1]).logits.numpy()
    for name in ("native", "portable"):
        target = TARGETS[name]
        file = target.save(checkpoint, float_plan("fp32"), tmp_path / name)[0]
        found = target.load(file, 1, True).run([ids], None, [types])
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
