"""The verdict: what the table of claims says of results, and what of none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PADDED, PACKED = "ours-cuda-fp16", "ours-cuda-packed-fp16"
PEER, UNPADDED = "sentence-transformers-fp16", "torch-fp16-unpadded"
GOOD = {  # query and corpus in seconds, mean and worst cosine
    PADDED: (0.3e-3, 0.10, 0.99999, 0.9999),
    PACKED: (0.4e-3, 0.05, 0.99999, 0.9998),
    PEER: (4e-3, 0.2, 0.99999, 0.9999),
    UNPADDED: (2e-3, 0.06, 0.99999, 0.9999),
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def results(contestants, shape="m3e-base", *, quick=False, finished=True, rehearsal=False, date="2026-12-01"):
    found = {}
    for name, (query, corpus, mean, least) in contestants.items():
        workloads = {
            "12 tokens": {"median_s": query},
            "corpus": {"median_s": corpus, "ceiling_share": 0.031 / corpus},
        }
        found[name] = {"workloads": workloads, "mean_cosine": mean, "min_cosine": least}
        if name.startswith("ours"):
            found[name]["details"] = {"recordings": 12}
    return {
        "date": date,
        "quick": quick,
        "rehearsal": rehearsal,
        "baseline": PEER,
        "automatic": PACKED,
        "runs": [{"shape": shape, "finished": finished, "found": found}],
    }


def traced(graphs, kernels_launched, kernels=100):
    top = [{"name": "gemm", "share": 0.7, "seconds": 1e-4, "count": 48}] if kernels else []
    return {
        "seconds": 3e-4,
        "gpu_s": 2e-4,
        "graph_launches": graphs,
        "kernel_launches": kernels_launched,
        "kernels": kernels,
        "top": top,
    }


def profile(query):
    return {"rehearsal": False, "contestants": {PACKED: {"query": query, "batch": traced(0, 100)}}}


SUITE = (
    '<testsuites><testsuite><testcase classname="tests.gpu.test_onnx_cuda" name="a">{}</testcase>'
    '<testcase classname="tests.gpu.test_driver" name="b">{}</testcase></testsuite></testsuites>'
)


@pytest.fixture
def told(tmp_path):
    """Puts files into a folder; the state of each claim by its words, and the exit code."""
    from benchmarks.offline.claims import CLAIMS
    from benchmarks.offline.evidence import gather
    from benchmarks.offline.verdict import judge

    def tell(**files):
        for name, content in files.items():
            suffix, text = (".xml", content) if isinstance(content, str) else (".json", json.dumps(content))
            (tmp_path / f"{name.replace('_', '-')}{suffix}").write_text(text)
        words, code = judge(gather([tmp_path]))
        lines = words.splitlines()
        states = {claim.words: next(line for line in lines if f"{claim.words}: " in line) for claim in CLAIMS}
        return states, code, words

    return tell


def state(states, part):
    (line,) = (line for words, line in states.items() if part in words)
    return line.split("  ")[0].strip()


def test_good_figures_prove_all_claims(told):
    states, code, words = told(gpu_1=results(GOOD), profile=profile(traced(1, 0)), tests=SUITE.format("", ""))
    # Only the order of the graphs is wrong: the padded one has the faster query.
    assert {line.split("  ")[0] for line in states.values()} == {"proved", "BROKEN", "reached", "answer"}
    assert state(states, "device=") == "BROKEN"
    assert code == 1
    assert "12 tokens 1.33 times the best" in words
    assert "70% gemm" in words
    states, code, _ = told(gpu_1=results({**GOOD, PACKED: (0.3e-3, 0.05, 0.99999, 0.9998)}))
    assert state(states, "device=") == "proved"
    assert code == 0


@pytest.mark.parametrize(
    ("claim", "name", "figures"),
    [
        ("mean cosine", PADDED, (0.3e-3, 0.10, 0.99989, 0.9996)),
        ("worst cosine", PACKED, (0.3e-3, 0.05, 0.99999, 0.9994)),
        ("at most half of PyTorch", PEER, (0.5e-3, 0.2, 1, 1)),
        ("1.5 times as fast as padded", PEER, (4e-3, 0.07, 1, 1)),
        ("not behind PyTorch", UNPADDED, (2e-3, 0.049, 1, 1)),
    ],
)
def test_each_claim_breaks_by_its_figure(told, claim, name, figures):
    states, code, _ = told(gpu_1=results({**GOOD, name: figures}))
    assert state(states, claim) == "BROKEN"
    assert code == 1


def test_slow_queries_break_the_claim_and_the_aim(told):
    slow = dict.fromkeys((PADDED, PACKED), (0.0012, 0.1, 1, 1))
    states, code, _ = told(gpu_1=results({**GOOD, **slow}))
    assert (state(states, "at most 1 ms"), state(states, "0.35 ms")) == ("BROKEN", "not reached")
    assert state(states, "matrix ceiling") == "not reached"
    assert code == 1


def test_an_aim_that_is_not_reached_breaks_nothing(told):
    modest = {PADDED: (0.6e-3, 0.05, 1, 1), PACKED: (0.6e-3, 0.055, 1, 1)}
    states, code, _ = told(gpu_1={**results({**GOOD, **modest}), "automatic": PADDED})
    assert state(states, "0.35 ms") == "not reached"
    assert code == 0


def test_whose_vectors_are_wrong_is_not_fast(told):
    wrong = {PACKED: (0.01e-3, 0.001, 0.5, 0.4)}
    states, _, words = told(gpu_1=results({**GOOD, **wrong}))
    assert state(states, "worst cosine") == "BROKEN"
    assert f"{PADDED} 0.3 ms" in words
    assert f"{PACKED} 0.01 ms" not in words


def test_nothing_measured_proves_nothing(told):
    states, code, words = told()
    assert {line.split("  ")[0] for line in states.values()} == {"not measured", "answer"}
    assert code == 0
    assert "no step has left results" in words


def test_the_reason_why_ours_was_not_measured_is_the_figure(told):
    failed = results(GOOD)
    for name in (PADDED, PACKED):
        failed["runs"][0]["found"][name] = {"not_measured": "libcublasLt.so.13 cannot be opened"}
    states, code, words = told(gpu_1=failed)
    assert state(states, "at most 1 ms") == "not measured"
    assert words.count("libcublasLt.so.13") >= 4
    assert code == 0


def test_a_rehearsal_proves_and_breaks_nothing(told):
    slow = {PADDED: (9, 9, 0.1, 0.1), PACKED: (9, 9, 0.1, 0.1)}
    states, code, words = told(gpu_1=results({**GOOD, **slow}, rehearsal=True))
    assert words.startswith("REHEARSAL")
    assert code == 0
    assert not {"proved", "BROKEN"} & {line.split("  ")[0].strip() for line in states.values()}


def test_a_query_that_launches_kernels_beside_its_graph_is_not_recorded(told):
    assert state(told(profile=profile(traced(1, 0)))[0], "CUDA graphs") == "proved"
    assert state(told(profile=profile(traced(0, 90)))[0], "CUDA graphs") == "BROKEN"
    assert state(told(profile=profile(traced(1, 3)))[0], "CUDA graphs") == "BROKEN"
    assert state(told(profile=profile(traced(0, 0, kernels=0)))[0], "CUDA graphs") == "not measured"


def test_without_a_profile_its_own_count_says_whether_it_records(told):
    states, _, words = told(gpu_1=results(GOOD))
    assert state(states, "CUDA graphs") == "proved"
    assert "12 sizes by its own count, no profile" in words


def test_tests_count_only_if_they_ran_on_the_gpu(told):
    assert state(told(tests=SUITE.format("", ""))[0], "tests/gpu") == "proved"
    assert state(told(tests=SUITE.format("<skipped/>", ""))[0], "tests/gpu") == "not measured"
    states, code, words = told(tests=SUITE.format("", "<failure/>"))
    assert state(states, "tests/gpu") == "BROKEN"
    assert "1 of 2 fail: tests.gpu.test_driver::b" in words
    assert code == 1


@pytest.mark.parametrize("better", [{"quick": False}, {"finished": True}, {"date": "2026-12-02"}])
def test_of_two_results_of_a_shape_the_better_one_counts(told, better):
    worse = {"quick": True, "finished": better.get("finished") is None, "date": "2026-12-01"}
    slow = {**GOOD, PADDED: (0.9e-3, 9, 1, 1), PACKED: (0.9e-3, 9, 1, 1)}
    for first, second in (("a", "b"), ("b", "a")):
        files = {
            f"gpu_{first}": results(GOOD, **{**worse, **better}),
            f"gpu_{second}": results(slow, **worse),
        }
        assert f"{PADDED} 0.3 ms" in told(**files)[2]


def test_the_command_prints_and_ends_with_the_exit_code(tmp_path):
    slow = {**GOOD, PADDED: (9, 9, 1, 1), PACKED: (9, 9, 1, 1)}
    (tmp_path / "gpu-x.json").write_text(json.dumps(results(slow)))
    command = [sys.executable, "-m", "benchmarks.offline.verdict", str(tmp_path)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "words.txt")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert (tmp_path / "words.txt").read_text() == done.stdout


def test_a_trace_is_counted_by_call():
    from benchmarks.offline.traces import summarize

    def event(kind, name, took=0.0, ph="X"):
        return {"ph": ph, "cat": kind, "name": name, "dur": took}

    events = [
        *[event("kernel", "gemm", 300), event("kernel", "norm", 100)] * 2,
        *[
            event("cuda_runtime", name)
            for name in ("cudaLaunchKernel", "cudaLaunchKernelExC", "cudaMemcpyAsync")
        ],
        *[event("cuda_driver", name) for name in ("cuLaunchKernelEx", "cuLaunchKernel", "cuModuleLoadData")],
        *[
            event("cuda_runtime", name)
            for name in ("cudaGraphLaunch", "cudaGraphLaunch_v10000", "cudaGraphInstantiate")
        ],
        event("gpu_memcpy", "Memcpy HtoD", 50),
        event("cpu_op", "gemm", 9e9),
        event("kernel", "gemm", 9e9, ph="i"),
    ]
    found = summarize(events, calls=2)
    assert (found["kernel_launches"], found["graph_launches"], found["kernels"], found["copies"]) == (
        2,
        1,
        2,
        0.5,
    )
    assert found["gpu_s"] == pytest.approx(400e-6)
    assert [(each["name"], each["count"]) for each in found["top"]] == [("gemm", 1), ("norm", 1)]
    assert found["top"][0]["share"] == pytest.approx(0.75)


def test_operators_are_counted_by_provider():
    from benchmarks.offline.traces import operators_of

    def node(name, operator, provider):
        return {"cat": "Node", "name": name, "args": {"op_name": operator, "provider": provider}}

    events = [
        node("a_kernel_time", "MatMul", "CUDAExecutionProvider"),
        node("b_kernel_time", "MatMul", "CUDAExecutionProvider"),
        node("b_fence_before", "MatMul", "CUDAExecutionProvider"),
        node("c_kernel_time", "Gather", "CPUExecutionProvider"),
        {"cat": "Session", "name": "model_run"},
    ]
    assert operators_of(events) == {
        "CUDAExecutionProvider": {"MatMul": 2},
        "CPUExecutionProvider": {"Gather": 1},
    }
