"""``m3e-encode`` with a reranker or a classifier: scores of the pairs and texts of files."""

import dataclasses
import json

import numpy as np
import pytest

from corpus_files import write_json_lines
from m3e_corpora import CorpusRequest
from m3e_corpora.cli import main
from m3e_corpora.errors import UnreadableInputError
from m3e_corpora.executors.local import describe_encoding
from m3e_runtime import InvalidTextError, OptionError, Reranker
from scoring_bundles import PAIRS


@pytest.fixture(scope="module")
def reranker(scoring_bundles):
    return Reranker.load(scoring_bundles[1])


@pytest.fixture(scope="module")
def classifier(scoring_bundles):
    return Reranker.load(scoring_bundles[3])


@pytest.fixture
def score(encode, scoring_bundles):
    """``score(inputs, output, labels=1, **options)``"""

    def call(inputs, output, labels=1, **options):
        return encode(inputs, output, bundle=scoring_bundles[labels], **options)

    return call


def rows_of(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_json_lines(pairs, out, score, reranker):
    summary = score(pairs, out / "scored.jsonl")
    rows = rows_of(out / "scored.jsonl")
    assert [list(row) for row in rows] == [["id", "query", "text", "score"]] * len(PAIRS)
    assert [(row["query"], row["text"]) for row in rows] == PAIRS
    expected = reranker.predict(PAIRS)
    np.testing.assert_allclose([row["score"] for row in rows], expected, atol=1e-6)
    assert (summary.texts, summary.dimension, summary.duplicates) == (70, 1, 70 - len(set(PAIRS)))
    assert summary.truncated == sum(reranker.tokenize(PAIRS).cut) > 0


def test_an_array(pairs, out, score, reranker):
    score(pairs, out / "scores.npy", partition_bytes=5000, activation="identity")
    scores = np.load(out / "scores.npy")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, reranker.logits(PAIRS)[:, 0], atol=1e-5)


def test_parquet(pairs, out, score, reranker):
    parquet = pytest.importorskip("pyarrow.parquet")
    score(pairs, out / "scored.parquet", keep=("id",), partition_bytes=5000)
    table = parquet.read_table(out / "scored.parquet")
    assert table.column_names == ["text", "query", "id", "score"]
    assert str(table.schema.field("score").type) == "float"
    assert table["query"].to_pylist() == [query for query, _ in PAIRS]
    np.testing.assert_allclose(table["score"].to_numpy(), reranker.predict(PAIRS), atol=1e-6)
    assert table.schema.metadata[b"m3e.meaning"] == b"sigmoid of the label's logit"
    # What was scored is scored again, with the columns of another name.
    score(
        out / "scored.parquet", out / "again.jsonl", field="query", query_field="text", keep=("id",),
        drop_text=True,
    )  # fmt: skip
    again = rows_of(out / "again.jsonl")
    assert again[3].keys() == {"id", "score"}
    assert again[3]["score"] == pytest.approx(float(reranker.predict(PAIRS[3][::-1])), abs=1e-6)


def test_several_labels(pairs, out, score, classifier):
    """A classifier takes single texts unless the queries are named."""
    score(pairs, out / "texts.jsonl", labels=3)
    texts = [text for _, text in PAIRS]
    found = [row["scores"] for row in rows_of(out / "texts.jsonl")]
    np.testing.assert_allclose(found, classifier.predict([[text] for text in texts]), atol=1e-6)
    score(pairs, out / "pairs.npy", labels=3, query_field="query", activation="softmax", precision="float16")
    shares = np.load(out / "pairs.npy")
    assert shares.dtype == np.float16
    np.testing.assert_allclose(shares, classifier.predict(PAIRS, apply_softmax=True), atol=1e-3)


def test_prompts(pairs, out, score, reranker, classifier):
    score(pairs, out / "scores.npy", prompt="question: ")
    expected = reranker.predict(PAIRS, prompt="question: ")
    np.testing.assert_allclose(np.load(out / "scores.npy"), expected, atol=1e-6)
    score(pairs, out / "texts.npy", labels=3, prompt="text: ")
    expected = classifier.predict([["text: " + text] for _, text in PAIRS])
    np.testing.assert_allclose(np.load(out / "texts.npy"), expected, atol=1e-6)


def test_what_was_interrupted_goes_on(pairs, out, score, monkeypatch):
    options = {"partition_bytes": 4000, "keep": ("id",)}
    score(pairs, out / "whole.jsonl", **options)
    real, runs = Reranker.run, []

    def run(*arguments, **named):
        runs.append(1)
        if len(runs) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(Reranker, "run", run)
    with pytest.raises(KeyboardInterrupt):
        score(pairs, out / "resumed.jsonl", **options)
    monkeypatch.setattr(Reranker, "run", real)
    assert score(pairs, out / "resumed.jsonl", resume=True, **options).resumed > 0
    assert (out / "resumed.jsonl").read_bytes() == (out / "whole.jsonl").read_bytes()


def test_rows_without_a_query_and_long_ones(tmp_path, out, score):
    rows = [{"query": "a", "text": "b"}, {"text": "c"}, {"query": "a", "text": "word " * 600}]
    source = write_json_lines(tmp_path / "some.jsonl", rows)
    with pytest.raises(InvalidTextError, match=r"no field 'query' .* of the queries with --query-field"):
        score(source, out / "scores.npy")
    with pytest.raises(InvalidTextError, match=r"no field 'body' .* of the texts with --field"):
        score(source, out / "scores.npy", field="body")
    csv = tmp_path / "some.csv"
    csv.write_text("q,text\na,b\n")
    with pytest.raises(UnreadableInputError, match=r"no column 'query' .* of the queries with --query-field"):
        score(csv, out / "scores.npy")
    with pytest.raises(UnreadableInputError, match=r"no column 'id' .* to store with --keep"):
        score(csv, out / "scores.jsonl", query_field="q", keep=("id",))
    summary = score(source, out / "scores.npy", on_error="skip", over_long="skip")
    assert (summary.texts, summary.skipped) == (1, 2)
    assert len(rows_of(out / "scores.npy.rejected.jsonl")) == 2


def test_a_reranker_that_only_other_machines_know_needs_the_name_of_the_queries(pairs, out, reranker):
    request = CorpusRequest("elsewhere", (str(pairs),), str(out / "scores.npy"))
    with pytest.raises(OptionError, match="name the column of the queries, --query-field query"):
        describe_encoding(reranker, request)
    with pytest.raises(OptionError, match="--normalize is for vectors"):
        describe_encoding(reranker, dataclasses.replace(request, normalize=True))
    described = describe_encoding(reranker, dataclasses.replace(request, query_field="query"))
    assert described.vectors.activation == "sigmoid"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": True}, "--normalize is for vectors"),
        ({"truncate_dim": 1}, "--truncate-dim is for vectors"),
        ({"precision": "ubinary"}, "--precision ubinary is for vectors"),
        ({"prompt_field": "id"}, "--prompt-field is for vectors"),
        ({"over_long": "chunk"}, "--over-long chunk is for vectors"),
        ({"activation": "relu"}, "activation_fn='relu' is unknown"),
        ({"prompt_name": "other"}, "prompt_name='other'"),
    ],
)
def test_options_of_vectors(options, message, pairs, out, score):
    with pytest.raises(OptionError, match=message):
        score(pairs, out / "scores.npy", **options)


def test_options_of_scores(pairs, tmp_path, out, score, encode):
    with pytest.raises(OptionError, match="--query-field and --activation are for rerankers"):
        encode(pairs, out / "vectors.npy", query_field="query")
    (tmp_path / "lines.txt").write_text("a\nb\n")
    with pytest.raises(OptionError, match="--query-field names a column"):
        score(tmp_path / "lines.txt", out / "scores.npy")
    with pytest.raises(OptionError, match=r"scores\.faiss is for vectors"):
        score(pairs, out / "scores.faiss")
    source = write_json_lines(tmp_path / "scored.jsonl", [{"query": "a", "text": "b", "score": 1}])
    with pytest.raises(OptionError, match="'score' cannot be kept"):
        score(source, out / "scored.parquet", keep=("score",))


def test_the_command(tmp_path, out, scoring_bundles, reranker, capsys):
    rows = [{"question": query, "passage": text} for query, text in PAIRS[:5]]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    output = out / "scored.jsonl"
    arguments = ["--query-field", "question", "--field", "passage", "--activation", "identity", "--json"]
    assert main([str(scoring_bundles[1]), str(source), "-o", str(output), *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == 5
    found = [row["score"] for row in rows_of(output)]
    np.testing.assert_allclose(found, reranker.logits(PAIRS[:5])[:, 0], atol=1e-5)
