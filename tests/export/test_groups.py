"""Queries with passages: the built-in ones and those of files."""

import json

import pytest

from m3e_export.errors import CheckpointError
from m3e_export.texts import built_in, read_texts
from m3e_export.texts.groups import built_in_groups, has_groups, pairs_of, read_groups
from m3e_export.texts.judged import calibration_texts, judged_texts
from m3e_runtime.manifest import Classification

RERANKER = Classification(("LABEL_0",), "sigmoid", token_types=True)
CLASSIFIER = Classification(("no", "maybe", "yes"), "identity", token_types=True)


@pytest.fixture
def file(tmp_path):
    """A file of three groups."""
    path = tmp_path / "groups.jsonl"
    groups = [{"query": f"q {n}", "passages": [f"p {n}.{m}" for m in range(8)]} for n in range(3)]
    path.write_text("\ufeff" + "\n".join(map(json.dumps, groups)), encoding="utf-8")
    return path


def test_built_in_groups_are_as_described():
    gate, calibration = built_in_groups("gate"), built_in_groups("calibration")
    assert (len(gate), len(pairs_of(gate)[0])) == (42, 375)
    assert (len(calibration), len(pairs_of(calibration)[0])) == (18, 126)
    assert all(len(set(group.passages)) == len(group.passages) >= 7 for group in (*gate, *calibration))
    assert len({group.query for group in gate}) == len(gate)


def test_calibration_shares_nothing_with_the_gate():
    shared = [set(pairs_of(built_in_groups(name))[1]) for name in ("gate", "calibration")]
    assert not shared[0] & shared[1]


def test_rerankers_are_judged_on_pairs_and_classifiers_on_texts():
    assert judged_texts("default", RERANKER).passages == pairs_of(built_in_groups("gate"))[1]
    assert judged_texts("off", CLASSIFIER).texts == built_in("gate")
    assert judged_texts("default", None).passages == ()


def test_a_file_says_itself_what_it_has(file, few_texts):
    assert judged_texts(str(file), CLASSIFIER).texts[:9] == ("q 0",) * 8 + ("q 1",)
    assert judged_texts(str(few_texts), RERANKER).texts == read_texts(few_texts)
    assert calibration_texts(file, RERANKER, pairs=True).passages[0] == "p 0.0"
    assert calibration_texts(None, CLASSIFIER, pairs=False).texts == built_in("calibration")
    assert calibration_texts(few_texts, None, pairs=False).texts == read_texts(few_texts)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"query": "q"}', "not a JSON object"),
        ('{"query": 3, "passages": ["a"]}', "not a JSON object"),
        ('{"query": "q", "passages": "ab"}', "not a JSON object"),
        ('{"query": "q", "passages": []}', "not a JSON object"),
        ('{"query": "q", "passages": ["a", 3]}', "something other than strings"),
        ("[" * 100_000, "not a JSON object"),
    ],
)
def test_broken_lines_are_named(file, line, words):
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    with pytest.raises(CheckpointError, match=rf"groups.jsonl:4: .*{words}"):
        read_groups(file)


def test_too_few_pairs_are_refused(tmp_path):
    file = tmp_path / "few.jsonl"
    file.write_text('{"query": "q", "passages": ["a", "b"]}', encoding="utf-8")
    assert has_groups(file)
    with pytest.raises(CheckpointError, match=r"2 pairs .* at least 20"):
        read_groups(file)
    assert not has_groups(tmp_path / "missing.jsonl")
