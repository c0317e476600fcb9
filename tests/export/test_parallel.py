"""Work on all cores: its order, its errors, and results that do not depend on the number of cores."""

import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from m3e_export import parallel
from m3e_export.parallel import parallel_map


def blas_threads(_=None):
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads, monkeypatch):
    monkeypatch.setattr(parallel, "available_threads", lambda: threads)
    assert list(parallel_map(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    assert list(parallel_map(lambda n: n, [])) == []


def test_results_wait_for_a_caller_who_is_slow():
    started = []
    results = parallel_map(lambda n: started.append(n), range(1000))
    next(results)
    assert len(started) < 100
    results.close()
    assert len(started) < 100


def test_products_have_one_thread_and_afterwards_as_many_as_before():
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        assert all(set(found) == {1} for found in parallel_map(blas_threads, range(3)))
        assert blas_threads() == before


def test_an_error_reaches_the_caller_and_ends_the_work():
    def fail(n):
        if n == 3:
            raise ValueError("three")
        return n

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with pytest.raises(ValueError, match="three"):
            list(parallel_map(fail, range(100)))
        assert blas_threads() == before


def test_the_caller_says_what_numpy_does_on_overflow():
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error")
        (found,) = parallel_map(np.square, [np.full(8, 1e30, np.float32)])
        assert np.isinf(found).all()
