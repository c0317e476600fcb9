"""Threads from affinity, hyper-threads and cgroup quota."""

import os

import pytest

from m3e_runtime import threads


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_both_cgroup_versions_is_read(tmp_path, files, quota):
    for name, content in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    assert threads._cgroup_quota(tmp_path) == quota


def test_hyper_threads_of_a_core_count_once(tmp_path):
    for cpu, siblings in enumerate(["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"]):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    assert threads._physical_cores({0, 1, 4, 5}, tmp_path) == 2
    assert threads._physical_cores(set(range(8)), tmp_path) == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_threads():
    everything = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everything)})
        assert threads.available_threads() == 1
    finally:
        os.sched_setaffinity(0, everything)


def test_a_quota_below_one_core_still_gives_a_thread(monkeypatch):
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: 0.3)
    assert threads.available_threads() == 1
