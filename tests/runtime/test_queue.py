"""Who is computed next, with whom, and how much at once."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3e_runtime.planning import work_of
from m3e_runtime.scheduling.pace import Pace
from m3e_runtime.scheduling.queue import FairQueue
from m3e_runtime.scheduling.request import DOCUMENT_HANDICAP, PIECE_SECONDS, Request

SPEED = 1000.0  # tokens a second


@pytest.fixture
def make():
    loop = asyncio.new_event_loop()

    def request(*lengths, arrival=0.0, priority="query"):
        ids = [np.zeros(length, np.int32) for length in lengths]
        return Request(ids, sum(map(work_of, lengths)), priority, arrival, loop.create_future())

    yield request
    loop.close()


def queue_of(*requests):
    queue = FairQueue()
    for request in requests:
        queue.add(request, SPEED)
    return queue


def taken(queue, budget):
    """The texts of the next run, in no order."""
    return {(request, index) for request, index in queue.take(budget, SPEED).texts}


def test_a_run_is_full_when_the_next_text_does_not_fit(make):
    a, b, c = make(30), make(40), make(50)
    queue = queue_of(a, b, c)
    assert taken(queue, 80) == {(a, 0), (b, 0)}
    assert taken(queue, 80) == {(c, 0)}
    assert not queue


def test_a_text_longer_than_the_budget_goes_alone(make):
    long, short = make(500), make(600)
    queue = queue_of(long, short)
    assert taken(queue, 100) == {(long, 0)}
    assert taken(queue, 100) == {(short, 0)}


def test_the_attention_of_a_long_text_fills_a_run(make):
    long, short = make(8192), make(8192, arrival=2.0)
    assert taken(queue_of(long, short), 16384 + 512) == {(long, 0)}


def test_a_short_text_passes_a_long_one_that_came_a_moment_before(make):
    long, short = make(500, arrival=0.0), make(12, arrival=0.1)
    assert taken(queue_of(long, short), 12) == {(short, 0)}


def test_a_long_text_does_not_wait_for_short_ones_that_come_much_later(make):
    long, later = make(500, arrival=0.0), make(12, arrival=0.6)
    assert taken(queue_of(long, later), 12) == {(long, 0)}


def test_one_text_passes_the_rest_of_a_request_with_many(make):
    many = make(*[12] * 100, arrival=0.0)
    queue = queue_of(many)
    assert len(taken(queue, 120)) == 10
    single = make(12, arrival=0.13)
    queue.add(single, SPEED)
    assert (single, 0) in taken(queue, 24)


def test_within_a_request_the_shortest_texts_come_first(make):
    request = make(50, 10, 30)
    queue = queue_of(request)
    assert [taken(queue, 1) for _ in range(3)] == [{(request, 1)}, {(request, 2)}, {(request, 0)}]


def test_a_document_lets_queries_pass_for_a_while_and_no_longer(make):
    document = make(20, arrival=0.0, priority="document")
    before = make(20, arrival=DOCUMENT_HANDICAP - 0.1)
    after = make(20, arrival=DOCUMENT_HANDICAP + 0.1)
    queue = queue_of(document, before, after)
    assert [taken(queue, 1) for _ in range(3)] == [{(before, 0)}, {(document, 0)}, {(after, 0)}]


def test_nothing_starves_under_a_stream_of_short_queries_that_never_ends(make):
    document = make(500, arrival=0.0, priority="document")
    queue = queue_of(document)
    for step in range(1000):  # as much arrives as is computed
        queue.add(make(10, arrival=step * 0.01), SPEED)
        if (document, 0) in taken(queue, 10):
            break
    assert 100 < step < 200  # a second's handicap and half a second's length, at a hundred steps a second


def test_abandoned_requests_are_not_computed(make):
    a, b = make(10, 10), make(10)
    queue = queue_of(a, b)
    assert queue.work == 30
    assert taken(queue, 10) == {(a, 0)}
    assert queue.work == 20
    a.abandoned = True
    assert taken(queue, 1000) == {(b, 0)}
    assert not queue
    assert queue.work == 0
    assert not queue.take(1000, SPEED).texts


def test_a_run_has_its_longest_texts_first(make):
    run = queue_of(make(10, 30), make(20)).take(1000, SPEED)
    assert [len(ids) for ids in run.token_ids()] == [30, 20, 10]
    assert [len(request.token_ids[index]) for request, index in run.texts] == [30, 20, 10]
    assert run.tokens == 60


@given(
    requests=st.lists(
        st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0, 3), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    budget=st.integers(1, 100),
)
def test_every_text_is_taken_once_and_no_run_exceeds_its_budget(requests, budget):
    loop = asyncio.new_event_loop()
    made = [
        Request(
            [np.zeros(n, np.int32) for n in lengths],
            sum(lengths),
            "document" if document else "query",
            arrival,
            loop.create_future(),
        )
        for lengths, arrival, document in requests
    ]
    loop.close()
    queue = queue_of(*made)
    seen = []
    while queue:
        run = queue.take(budget, SPEED)
        assert len(run.texts) == 1 or run.tokens <= budget
        seen += run.texts
    assert queue.work == 0
    assert len(seen) == len(set(seen)) == sum(len(lengths) for lengths, _, _ in requests)


def test_the_budget_follows_the_speed_of_the_engine_within_bounds():
    pace = Pace(seconds=0.05, threads=2, max_tokens=16384)
    for _ in range(100):
        pace.record(4096, 4096 / 40_000)
    assert pace.tokens_per_second == pytest.approx(40_000, rel=0.01)
    assert pace.budget(100_000) == pytest.approx(2000, rel=0.01)
    for _ in range(100):
        pace.record(4096, 4.096)
    assert pace.budget(100_000) == 512  # below, an engine of two threads loses more than callers gain
    for _ in range(100):
        pace.record(4096, 1e-4)
    assert pace.budget(100_000) == 16384


def test_a_run_takes_a_third_of_what_waits_but_never_very_few():
    pace = Pace(seconds=0.05, threads=1, max_tokens=16384)
    for _ in range(100):
        pace.record(4096, 4096 / 40_000)
    assert pace.budget(4500) == 1500
    assert pace.budget(0) == pytest.approx(400, rel=0.01)  # ten milliseconds
    assert Pace(seconds=0.001, threads=1, max_tokens=16384).budget(0) == 256


def test_small_runs_hardly_change_the_measured_speed():
    pace = Pace(seconds=0.05, threads=2, max_tokens=16384)
    before = pace.tokens_per_second
    for _ in range(20):
        pace.record(5, 0.005)
    assert pace.tokens_per_second > 0.9 * before


def test_the_first_full_runs_replace_the_guess():
    pace = Pace(seconds=0.05, threads=2, max_tokens=16384)
    pace.record(5, 0.005)
    assert not pace.measured
    for speed in (1_000, 3_000):
        pace.record(pace.full_run, pace.full_run / speed)
        assert pace.measured
    assert pace.tokens_per_second == pytest.approx(2_000)


@pytest.mark.parametrize("priority", ["query", "document"])
def test_a_large_request_that_is_late_does_not_catch_up_at_the_cost_of_queries(make, priority):
    """The engine is half as fast as it was thought to be; a query waits for a piece, and not for the rest."""
    queue = queue_of(make(*[50] * 1000, priority=priority))
    now, waited = 0.0, []
    query = None
    for step in range(600):
        if query is None and step % 20 == 19:
            query = make(10, arrival=now)
            queue.add(query, SPEED)
        run = queue.take(100, SPEED, now)
        now += 2 * run.tokens / SPEED
        if query is not None and any(request is query for request, _ in run.texts):
            waited.append(now - query.arrival)
            query = None
    assert len(waited) == 30
    assert max(waited) < 2 * (PIECE_SECONDS + 0.2)


def test_a_late_document_has_its_turn_though_queries_keep_coming(make):
    document = make(*[50] * 20, priority="document")
    queue, now, runs = queue_of(document), 0.0, 0
    while document.taken < 20:
        for _ in range(2):  # as many as a run takes
            queue.add(make(50, arrival=now), SPEED)
        now += queue.take(100, SPEED, now).tokens / SPEED
        runs += 1
        assert runs < 1000
