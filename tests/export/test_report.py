"""``m3e-export --report``: what the page says, that nothing in it runs, and that a failed gate has one."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest

from html_page import HtmlPage
from m3e_export import ExportRequest, cli, quickstart
from m3e_export.checkpoint import load_checkpoint
from m3e_export.cli import main
from m3e_export.gate import DEFAULT_THRESHOLDS, Gate, compare
from m3e_export.oracle.numpy_oracle import NumpyOracle
from m3e_export.own import artifacts
from m3e_export.record import Candidate, ExportRecord
from m3e_export.report import export as reporting
from m3e_export.report import latency
from m3e_export.report.export_page import export_page
from m3e_export.report.file import write_report
from m3e_export.report.histogram import cosine_histogram, lowest_decade
from m3e_export.report.latency import Latency, Timing
from m3e_export.report.markup import Markup, element, visible
from m3e_export.report.page import page
from m3e_runtime import Bundle
from m3e_runtime.errors import OutputError
from m3e_runtime.manifest import GateThresholds

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></svg><script src=//example.com/x.js></script>",
    "' onmouseover='alert(1)",
    "&lt;b&gt; &amp; <b>",
    "<!-- ]]> --><a href=javascript:alert(1)>",
)


@pytest.fixture(autouse=True)
def few_runs(monkeypatch):
    monkeypatch.setattr(latency, "RUNS", 1)
    monkeypatch.setattr(latency, "_WARM_UP", 0)


@pytest.fixture
def arguments(tiny_checkpoint, few_texts, out):
    options = ["--gate", str(few_texts), "--target", "cpu", "--oracle", "numpy"]
    return [str(tiny_checkpoint), "-o", str(out / "bundle"), *options]


@pytest.fixture
def refusing_gate(monkeypatch):
    monkeypatch.setitem(DEFAULT_THRESHOLDS, "fp16", GateThresholds(min_cosine=1.1))


@pytest.fixture
def wide_gate(tmp_path):
    """A gate of hostile texts, in a file whose name is one as well."""
    file = tmp_path / "<b>gate.txt"
    file.write_text("\n".join([*HOSTILE, *(f"第{n}句 sentence {n}" for n in range(24))]), encoding="utf-8")
    return file


def read(file) -> HtmlPage:
    found = HtmlPage(file.read_text(encoding="utf-8"))
    found.check_harmless()
    return found


def test_it_says_what_was_exported_and_how_closely_it_follows(arguments, out, capsys):
    report = out / "report.html"
    assert main([*arguments, "--precision", "fp32", "int8", "--gate", "off", "--report", str(report)]) == 0
    assert f"m3e-export: wrote {report}" in capsys.readouterr().err
    assert sorted(os.listdir(out)) == ["bundle", "report.html"]
    found, manifest = read(report), Bundle.open(out / "bundle").manifest
    source = manifest.source
    known = (source.model_type, source.weights_sha256[:16], str(manifest.dimension), manifest.pooling)
    assert [words for words in (*known, manifest.licence) if words not in found.text] == []
    for artifact in manifest.artifacts:
        assert f"{artifact.fidelity.mean_cosine:.6f}" in found.text
        assert f"{artifact.fidelity.overlap_at_10:.4f}" in found.text
        assert f"{sum(file.size for file in artifact.files) / 1e6:.1f} MB" in found.text
        assert [each for each in found.elements if each[1].get("id") == artifact.name]
    assert "the gate was off" in found.text
    assert "not a benchmark" in found.text
    assert len(found.of_class("histogram")) == 2
    assert len(found.of_class("neighbours")) == 2 * 2 * 5
    assert len(found.of_class("bar")) == 2


def test_json_names_the_file(arguments, out, capsys):
    assert main([*arguments, "--report", str(out / "new" / "report.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(out / "new" / "report.html")
    assert "passes" in read(out / "new" / "report.html").text
    assert main([*arguments, "--force", "--json"]) == 0
    assert "report" not in json.loads(capsys.readouterr().out)


def test_a_refusing_gate_has_a_report_that_says_why_and_its_exit_code(
    arguments, out, refusing_gate, caplog, capsys
):
    report = out / "report.html"
    assert main([*arguments, "--precision", "fp32", "fp16", "--report", str(report)]) == 3
    assert f"{report} shows" in caplog.text
    error = capsys.readouterr().err.strip().removeprefix("m3e-export: ")
    assert "below the gate" in error
    assert os.listdir(out) == ["report.html"]
    found = read(report)
    assert error in found.text
    assert "nothing was written" in found.text
    assert "≥ 1.1" in found.text  # the threshold, in the table and in the histogram
    assert [tag for tag, _ in found.of_class("reason")] == ["p", "p"]  # of the export, and of fp16
    assert len(found.of_class("histogram")) == 2  # fp32 has been judged before, and passes
    assert "Not measured" in found.text


def test_vectors_that_are_not_finite_are_reported(arguments, out, monkeypatch, capsys):
    encode = artifacts.artifact_vectors

    def broken(*given, **options):
        return encode(*given, **options) * np.float32(np.nan)

    monkeypatch.setattr(artifacts, "artifact_vectors", broken)
    assert main([*arguments, "--report", str(out / "report.html")]) == 3
    assert "not finite numbers" in read(out / "report.html").text


def test_an_interrupt_says_that_the_bundle_is_there(arguments, out, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "measure_latencies", interrupted)
    assert main([*arguments, "--report", str(out / "report.html")]) == 130
    assert "the bundle is written, the report is not" in capsys.readouterr().err
    assert os.listdir(out) == ["bundle"]


def test_a_report_that_cannot_be_written_changes_no_exit_code(
    arguments, out, refusing_gate, monkeypatch, caplog, capsys
):
    def full(*_):
        raise OutputError("no room")

    monkeypatch.setattr(reporting, "write_report", full)
    report = ["--report", str(out / "report.html")]
    assert main([*arguments, "--precision", "fp16", *report]) == 3
    assert "no report: no room" in caplog.text
    assert main([*arguments, "--json", *report]) == 1
    assert json.loads(capsys.readouterr().out)["bundle"] == str(out / "bundle")
    assert Bundle.open(out / "bundle")


def test_an_older_report_stays_where_a_new_one_cannot_be_finished(out, monkeypatch):
    file = out / "report.html"
    write_report(file, "older")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(file, "newer")
    assert file.read_text() == "older"
    assert os.listdir(out) == ["report.html"]


@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("report.txt", 2, "ends in .html"),
        ("folder.html", 2, "a folder"),
        ("bundle/report.html", 2, "in the bundle's folder"),
        ("file/report.html", 1, "cannot be written"),
    ],
)
def test_a_report_that_cannot_be_is_refused_before_the_export(
    arguments, out, monkeypatch, name, code, problem, capsys
):
    (out / "folder.html").mkdir()
    (out / "file").write_text("")
    monkeypatch.setattr("m3e_export.exporter.export", lambda *_: pytest.fail("exported"))
    assert main([*arguments, "--report", str(out / name)]) == code
    assert problem in capsys.readouterr().err


def test_what_fails_before_the_gate_has_no_report(out, capsys):
    assert main(["/no/such/checkpoint", "-o", str(out / "b"), "--report", str(out / "report.html")]) == 4
    assert os.listdir(out) == []


def test_the_original_is_asked_once(arguments, out, monkeypatch):
    calls = []
    encode = NumpyOracle.encode

    def counted(self, *given, **options):
        calls.append(given)
        return encode(self, *given, **options)

    monkeypatch.setattr(NumpyOracle, "encode", counted)
    assert main([*arguments, "--precision", "fp32", "fp16", "--report", str(out / "report.html")]) == 0
    assert len(calls) == 1


def test_hostile_texts_of_the_gate_are_shown_as_texts(tiny_checkpoint, wide_gate, out):
    """With so few texts, the neighbours of the five worst ones are nearly all texts."""
    report = out / "report.html"
    options = ["--gate", str(wide_gate), "--target", "cpu", "--report", str(report)]
    assert main([str(tiny_checkpoint), "-o", str(out / "bundle"), *options]) == 0
    found = read(report)
    assert "texts of " in found.text
    assert "<b>gate.txt" in found.text
    assert any(text in found.texts for text in HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text):
    made = page(
        text, [element("p", text, title=text), element("p", visible(text)), element("p", f"a {text}")]
    )
    found = HtmlPage(made)
    found.check_harmless()
    assert found.texts.count(text) == 2
    assert f"a {text}" in found.texts
    assert ("p", {"title": text}) in found.elements


def test_text_made_of_markup_is_not_trusted():
    bold = element("b", "x")
    assert element("p", bold) == "<p><b>x</b></p>"
    assert element("p", f"{bold}") == element("p", bold + "") == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert isinstance(element("p"), Markup)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x00\x1b[31m", "\\x00\\x1b[31m"),
        ("one\ntwo\u2028", "one\\ntwo\\u2028"),
        ("\ud800", "\\ud800"),
        ("", "(empty)"),
        (" \n", "(only white space)"),
        ("👩‍👩‍👧 天气", "👩‍👩‍👧 天气"),
        ("x" * 500, "x" * 160 + "…"),
    ],
)
def test_what_is_not_seen_is_shown_by_its_number(text, shown):
    assert HtmlPage(str(visible(text))).texts == [shown]


def test_a_browser_is_told_to_run_and_fetch_nothing():
    policy = [each["content"] for tag, each in HtmlPage(page("t", [])).elements if "http-equiv" in each]
    assert policy[0].startswith("default-src 'none'")


def noisy(noise, precision="int8"):
    """Vectors of forty texts, the same with noise, and what the gate finds."""
    random = np.random.default_rng(3)
    reference = random.standard_normal((40, 16)).astype(np.float32)
    changed = reference + noise * random.standard_normal((40, 16)).astype(np.float32)
    gate = Gate(tuple(f"text {n}" for n in range(40)), "an oracle", reference, enforced=True)
    return reference, changed, gate, compare(gate, changed, precision)


def test_the_gate_keeps_each_cosine_and_the_worst_texts():
    reference, changed, _, found = noisy(0.3)

    def similarities(table):
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        return unit @ unit.T

    def nearest(table, text):
        return sorted((n for n in range(40) if n != text), key=lambda n: -similarities(table)[text][n])[:10]

    lengths = np.linalg.norm(reference, axis=1) * np.linalg.norm(changed, axis=1)
    assert found.cosines == pytest.approx((reference * changed).sum(axis=1) / lengths, abs=1e-6)
    assert [each.text for each in found.worst] == np.argsort(found.cosines)[:5].tolist()
    for each in found.worst:
        assert [near.text for near in each.before] == nearest(reference, each.text)
        assert [near.text for near in each.after] == nearest(changed, each.text)
        assert each.after[0].cosine == pytest.approx(
            similarities(changed)[each.text][each.after[0].text], abs=1e-6
        )
    shared = [len({*nearest(reference, n)} & {*nearest(changed, n)}) for n in range(40)]
    assert found.shared.tolist() == shared
    assert found.fidelity.overlap_at_10 == pytest.approx(np.mean(shared) / 10, abs=1e-6)


@pytest.fixture
def made_record(tiny_checkpoint, out):
    """A record with one artifact, whose vectors have noise."""
    record = ExportRecord(ExportRequest(str(tiny_checkpoint), out / "bundle"))
    *_, gate, comparison = noisy(0.3)
    record.begin(load_checkpoint(str(tiny_checkpoint)), gate)
    mix = {"int8": 6, "float16": 2}
    kept = ("layer.0.qkv", "layer.1.output")
    record.candidates.append(
        Candidate("int8-cpu", "int8", "cpu", "onnxruntime", 12_300_000, mix, kept, ("too far",), comparison)
    )
    return record


def test_neighbours_that_leave_and_come_in_are_marked(made_record):
    found = HtmlPage(export_page(made_record, None))
    worst = made_record.candidates[-1].comparison.worst
    changed = sum(
        len({near.text for near in each.before} - {near.text for near in each.after}) for each in worst
    )
    assert changed > 3
    for kind in ("lost", "new"):
        assert len([tag for tag, _ in found.of_class(kind) if tag == "li"]) == changed
    assert {"−", "+", "↑", "↓"} <= set(found.texts)


def test_a_default_length_of_vectors_is_told(made_record):
    made_record.checkpoint = dataclasses.replace(made_record.checkpoint, truncate_dim=24)
    assert "64, cut to 24 by default" in HtmlPage(export_page(made_record, None)).text


def test_matrices_in_a_higher_precision_and_latencies_are_told(made_record, tiny_bundle):
    times = (Timing(13, 1.25), Timing(128, 9.5))
    latencies = [Latency("int8-cpu", "an engine", 2, times), Latency("fp16-cuda", reason="no <b>GPU")]
    found = HtmlPage(export_page(made_record, Bundle.open(tiny_bundle), latencies))
    for words in ("layer.0.qkv, layer.1.output", "int8: 6, 75%", "13 tokens", "1.25 ms", "9.50 ms"):
        assert words in found.text
    assert "fp16-cuda: no <b>GPU" in found.text
    assert latency.processor_name() in found.text


def test_all_trials_of_int8_are_told(tiny_checkpoint, few_texts, out, monkeypatch):
    """Nothing passes: matrices leave int8 until none is left, and each trial has its reason."""
    monkeypatch.setitem(DEFAULT_THRESHOLDS, "int8", GateThresholds(mean_cosine=1.1))
    options = ["--gate", str(few_texts), "--target", "cpu", "--precision", "int8"]
    report = out / "report.html"
    assert main([str(tiny_checkpoint), "-o", str(out / "b"), *options, "--report", str(report)]) == 3
    found = read(report)
    assert "5 mixtures were tried" in found.text
    assert "8 int8: mean_cosine" in found.text
    assert "None is in int8." in found.text


@pytest.mark.parametrize("name", ["torch", "given"])
def test_other_exporters_have_a_report(tiny_checkpoint, tiny_bundle, few_texts, out, monkeypatch, name):
    checkpoint = tiny_bundle if name == "given" else tiny_checkpoint
    options = ["--exporter", name, "--gate", str(few_texts)]
    assert main([str(checkpoint), "-o", str(out / "b"), *options, "--report", str(out / "a.html")]) == 0
    assert f"fp32-{name}" in read(out / "a.html").text
    monkeypatch.setitem(DEFAULT_THRESHOLDS, "fp32", GateThresholds(min_cosine=1.1))
    assert main([str(checkpoint), "-o", str(out / "c"), *options, "--report", str(out / "b.html")]) == 3
    found = read(out / "b.html")
    assert "min_cosine" in found.text
    assert found.of_class("histogram")


@pytest.mark.parametrize("lowest", [-1.0, 0.2, 0.97, 1.0])
def test_every_text_is_in_the_histogram(lowest):
    cosines = np.append(np.linspace(lowest, 1.0, 199), 1.0000001)
    made = cosine_histogram(cosines, {"mean": (0.99, True)}, lowest_decade(cosines))
    titles = [part.split("</title>")[0] for part in made.split("<title>")[1:]]
    assert sum(int(title.split(": ")[1].split()[0]) for title in titles) == 200


def test_latency_of_a_short_and_a_long_text(tiny_bundle):
    found = latency.measure_latencies(Bundle.open(tiny_bundle))
    names = [artifact.name for artifact in Bundle.open(tiny_bundle).manifest.artifacts]
    assert [each.artifact for each in found] == names
    for each in found:
        if each.reason is not None:
            assert each.artifact.endswith("native")
            continue
        short, long = each.timings
        assert short.tokens < 40
        assert 120 <= long.tokens <= 128
        assert short.milliseconds > 0
        assert each.threads >= 1
    assert latency.processor_name()


def test_a_long_text_is_no_longer_than_the_model_takes(tiny_checkpoint):
    tokenizer = load_checkpoint(str(tiny_checkpoint)).text_tokenizer().limited(32)
    assert len(tokenizer.encode(latency._long_text(tokenizer))) == 32


def test_an_artifact_that_cannot_run_here_has_a_reason(tiny_bundle, monkeypatch):
    monkeypatch.setattr(latency, "why_not_here", lambda artifact: f"no engine for {artifact.name}")
    found = latency.measure_latencies(Bundle.open(tiny_bundle))
    assert all(each.reason == f"no engine for {each.artifact}" for each in found)
    assert Timing(1, 1.0) not in [timing for each in found for timing in each.timings]


def test_the_quickstart_has_it_too(tiny_checkpoint, out, monkeypatch, capsys):
    monkeypatch.setattr(quickstart, "_ROUNDS", 1)
    arguments = [str(tiny_checkpoint), "-o", str(out / "b"), "--precision", "fp32", "--json"]
    assert quickstart.main([*arguments, "--report", str(out / "report.html")]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(out / "report.html")
    assert "all artifacts pass the gate" in read(out / "report.html").text


@pytest.mark.parametrize("command", [cli.main, quickstart.main])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        command(["--help"])
    assert "--report " in capsys.readouterr().out.partition("examples:")[2]
