"""The simulation of stragglers where its outcome is known, and the page that its tables go to."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def steady():
    """A cluster where nothing is left to chance."""
    from benchmarks.stragglers import Cluster

    def make(**changes):
        same = {"speed_spread": 0, "slow_share": 0, "noise": 0, "mean_hours_to_failure": 1e12}
        return Cluster(**{"workers": 10, "overhead_seconds": 0, **same, **changes})

    return make


def simulated(cluster, **changes):
    from benchmarks.stragglers import simulate

    return simulate(cluster, **{"job_seconds": 1000, "partition_seconds": 10, "seed": 0, **changes})


def test_without_chance_and_overhead_nothing_is_wasted(steady):
    assert simulated(steady()).total == pytest.approx(0)


def test_overhead_is_its_share_of_a_partition(steady):
    waste = simulated(steady(overhead_seconds=2.5))
    assert (waste.overhead, waste.lost, waste.tail) == pytest.approx((0.2, 0, 0))


def test_what_does_not_divide_evenly_is_waited_for(steady):
    waste = simulated(steady(), job_seconds=110, partition_seconds=100)  # eleven partitions for ten workers
    assert waste.tail == pytest.approx(9 / 20)


def test_a_slow_worker_is_waited_for(steady):
    waste = simulated(steady(slow_share=1.0))
    assert waste.total == pytest.approx(0)  # all alike
    waste = simulated(steady(slow_share=0.3), partition_seconds=500)
    assert waste.tail > 0.2


def test_failures_cost_what_was_begun_and_the_restart(steady):
    cluster = steady(mean_hours_to_failure=100 / 3600, restart_seconds=50)
    waste = simulated(cluster, job_seconds=100_000)
    # A try of 10 s fails with a chance of 1 - exp(-10 / 100), after 4.92 s in the mean.
    assert waste.lost == pytest.approx(0.366, abs=0.02)
    assert simulated(cluster, job_seconds=100_000) == waste
    assert simulated(cluster, job_seconds=100_000, seed=1) != waste


def test_the_page_has_a_place_for_each_table(tmp_path, monkeypatch):
    from benchmarks import scale

    page = shutil.copy(ROOT / "docs" / "scale.md", tmp_path)
    monkeypatch.setattr(scale, "_stragglers", lambda: "a table")
    monkeypatch.setattr("sys.argv", ["scale", "--write", str(page)])
    scale.main()
    written = Path(page).read_text(encoding="utf-8")
    assert "<!-- stragglers -->\na table\n<!-- /stragglers -->" in written
    assert "| m3e-base, 768 dimensions | 3072 | 1536 | 768 | 96 |" in written
