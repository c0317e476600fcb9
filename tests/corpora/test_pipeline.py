"""Runs that overlap: in order, never one that waits while it holds another, none left behind."""

import itertools

import numpy as np
import pytest

from m3e_runtime.backends import Inputs, run_all


class Plain:
    """A backend that does one thing at a time."""

    def run(self, token_ids, prompt_lengths=None, token_types=None):
        return np.float32([len(ids) for ids in token_ids])


class Overlapping(Plain):
    """Starts runs in ``lanes`` lanes; a run that fails is told by its number."""

    def __init__(self, lanes, fails=None):
        self.free = lanes
        self.most = 0
        self.lanes = lanes
        self.fails = fails
        self.numbers = itertools.count()

    def submit(self, token_ids, wait=True, token_types=None):
        assert not (wait and self.free < self.lanes), "it waits while it holds a lane"
        if not self.free:
            return None
        self.free -= 1
        self.most = max(self.most, self.lanes - self.free)
        return Run(self, next(self.numbers), self.run(token_ids))


class Run:
    def __init__(self, backend, number, vectors):
        self.backend, self.number, self.vectors = backend, number, vectors

    def result(self):
        self.backend.free += 1
        if self.number == self.backend.fails:
            raise RuntimeError(f"run {self.number} failed")
        return self.vectors


def batches(count):
    return ((key, Inputs([np.zeros(key + 1, np.int32)])) for key in range(count))


@pytest.mark.parametrize("backend", [Plain(), Overlapping(1), Overlapping(2), Overlapping(5)])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_come_in_order_with_their_keys(backend, count):
    found = [(key, float(vectors[0])) for key, vectors in run_all(backend, batches(count))]
    assert found == [(key, key + 1.0) for key in range(count)]


def test_all_lanes_are_used():
    backend = Overlapping(3)
    list(run_all(backend, batches(10)))
    assert backend.most == backend.free == 3


def test_who_stops_early_leaves_no_run_behind():
    backend = Overlapping(3)
    runs = run_all(backend, batches(10))
    next(runs)
    assert backend.free < 3
    runs.close()
    assert backend.free == 3


@pytest.mark.parametrize("fails", [0, 1, 2, 9])
def test_a_run_that_fails_is_raised_and_the_others_are_collected(fails):
    backend = Overlapping(3, fails)
    with pytest.raises(RuntimeError, match=f"run {fails} failed"):
        list(run_all(backend, batches(10)))
    assert backend.free == 3


def test_an_error_of_whoever_makes_the_batches_leaves_no_run_behind():
    backend = Overlapping(3)

    def broken():
        yield from batches(2)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(run_all(backend, broken()))
    assert backend.free == 3
