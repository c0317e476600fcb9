"""Many callers of a reranker, and an embedder beside it: what they get, and whose turn it is."""

import asyncio
import threading
import time

import numpy as np
import pytest

from m3e_runtime import (
    AsyncEncoder,
    AsyncReranker,
    ClosedError,
    Encoder,
    InvalidTextError,
    OptionError,
    OverloadedError,
    Reranker,
)
from m3e_runtime.backends import native
from m3e_runtime.errors import BatchTooLargeError, TextTooLongError
from m3e_runtime.scheduling import Lane, QueueLimits
from m3e_runtime.scheduling.pace import Pace
from scoring_bundles import random_pairs


@pytest.fixture(scope="module")
def reranker(scoring_bundles):
    return Reranker.load(scoring_bundles[1])


@pytest.fixture(scope="module")
def classifier(scoring_bundles):
    return Reranker.load(scoring_bundles[3])


@pytest.fixture
def held(scoring_bundles, hold):
    """A reranker whose engine is held."""
    return hold(Reranker.load(scoring_bundles[1]))


def test_scores_equal_those_of_predict(reranker, classifier):
    if reason := native.missing():
        pytest.skip(reason)
    pairs = random_pairs(60)
    requests = [pairs[i] if i % 3 else pairs[i : i + i % 20] for i in range(len(pairs))]
    options = [{}, {"activation_fn": "identity"}, {"apply_softmax": True}, {"prompt": "question: "}]

    async def main(model):
        async with AsyncReranker(model, run_seconds=0.001) as service:
            return await asyncio.gather(
                *(
                    service.predict(request, priority=("query", "document")[i % 2], **options[i % 4])
                    for i, request in enumerate(requests)
                )
            )

    for model in (reranker, classifier):
        for i, (request, found) in enumerate(zip(requests, asyncio.run(main(model)), strict=True)):
            expected = model.predict(request, **options[i % 4])
            np.testing.assert_array_equal(found, expected)
            assert np.shape(found) == np.shape(expected)


def test_ranks_as_rank_does(reranker, classifier):
    documents = [passage for _, passage in random_pairs(20)]

    async def main():
        async with AsyncReranker(reranker) as service:
            await service.warm_up()
            assert service.tokens_per_second > 0
            return await service.rank("天气", documents, top_k=5, return_documents=True)

    assert asyncio.run(main()) == reranker.rank("天气", documents, top_k=5, return_documents=True)
    with pytest.raises(OptionError, match="one label"):
        asyncio.run(AsyncReranker(classifier).rank("a", ["b"]))


def test_pairs_that_are_cut_are_counted(scoring_bundles):
    reranker = Reranker.load(scoring_bundles[1])

    async def main():
        async with AsyncReranker(reranker) as service:
            await service.warm_up()
            await service.predict([("a", "b"), ("a", "long " * 600)])
            await service.rank("a", ["long " * 600, "long " * 700, "b"])

    asyncio.run(main())
    assert reranker.info["truncated"] == 3


def test_closing_finishes_pairs_that_are_being_tokenized(reranker):
    pairs = [("a question " * 50, "its answer " * 100)] * 4

    async def main():
        service = AsyncReranker(reranker)
        call = asyncio.ensure_future(service.predict(pairs))
        await asyncio.sleep(0)
        await service.close()
        return await call

    np.testing.assert_array_equal(asyncio.run(main()), reranker.predict(pairs))


def test_what_is_too_much_is_refused(held):
    limits = QueueLimits(texts=3, tokens=1000)

    async def main():
        async with AsyncReranker(held.encoder, limits=limits) as service:
            first = asyncio.ensure_future(service.predict(("a", "b")))
            await asyncio.to_thread(held.busy.wait, 30)
            waiting = asyncio.ensure_future(service.predict([("a", "b")] * 2))
            await asyncio.sleep(0)
            assert service.waiting_texts == 3
            with pytest.raises(OverloadedError):
                await service.predict(("a", "b"))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert service.waiting_texts == 1
            last = asyncio.ensure_future(service.predict(("a", "b")))
            held.free.set()
            return await first, await last

    first, last = asyncio.run(main())
    assert first == last
    assert held.runs == [1, 1]


def test_a_deadline_that_cannot_be_met_is_told(reranker):
    async def main():
        async with AsyncReranker(reranker) as service:
            await service.warm_up()
            tokens = await service.tokenize([("a " * 300, "b " * 300)] * 8)
            with pytest.raises(BatchTooLargeError, match="8 texts"):
                await service.score_tokens(tokens, seconds=1e-9)
            return (await service.score_tokens(tokens, seconds=60)).vectors

    assert asyncio.run(main()).shape == (8, 1)


def test_mistakes(reranker):
    async def main():
        async with AsyncReranker(reranker) as service:
            with pytest.raises(InvalidTextError, match="pair 1"):
                await service.predict([("a", "b"), ("c", None)])
            with pytest.raises(OptionError, match="priority"):
                await service.predict(("a", "b"), priority="other")
            with pytest.raises(TextTooLongError):
                await service.tokenize([("a", "b " * 600)], truncate=False)
            assert (await service.predict([])).shape == (0,)
        with pytest.raises(ClosedError, match="the reranker is closed"):
            await service.predict(("a", "b"))

    asyncio.run(main())
    assert repr(AsyncReranker(reranker)) == f"<AsyncReranker of {reranker!r}, 0 texts waiting>"


def test_models_in_one_lane_compute_one_at_a_time(tiny_bundle, scoring_bundles, monkeypatch):
    models = Encoder.load(tiny_bundle), Reranker.load(scoring_bundles[1])
    computing, most, order = [], [], []
    for model in models:
        name = type(model).__name__

        def run(*arguments, name=name, real=model._backend.run):
            computing.append(name)
            most.append(len(computing))
            order.append(name)
            time.sleep(0.002)
            try:
                return real(*arguments)
            finally:
                computing.remove(name)

        monkeypatch.setattr(model._backend, "run", run)

    async def main():
        lane = Lane()
        options = {"lane": lane, "run_seconds": 1e-6}
        async with AsyncEncoder(models[0], **options) as one, AsyncReranker(models[1], **options) as other:
            texts = ["some words " * 60] * 20
            return await asyncio.gather(
                *map(one.encode, texts), *(other.predict((text, text)) for text in texts)
            )

    found = asyncio.run(main())
    np.testing.assert_array_equal(found[0], models[0].encode("some words " * 60))
    assert max(most) == 1
    assert set(order) == {"Encoder", "Reranker"}


class Engine:
    """Stands for one."""


def test_turns_are_given_in_the_order_of_asking():
    lane, order, threads = Lane(), [], []
    engines = [Engine() for _ in range(6)]  # they live on, so that their turns are remembered

    def take(number):
        with lane.turn(engines[number]) as shared:
            order.append(number)
            assert shared

    with lane.turn(engines[0]) as shared:
        assert not shared
        for number in range(5):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            while len(lane._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(10)
    assert order == list(range(5))
    with pytest.raises(ZeroDivisionError), lane.turn(engines[0]):
        _ = 1 / 0
    take(5)  # the lane is free after an error
    assert order[-1] == 5


def test_the_speed_counts_the_time_that_others_take():
    alone, sharing = Pace(0.05, 1, 16384), Pace(0.05, 1, 16384)
    for _ in range(50):
        alone.record(1000, 0.1)
        sharing.record(1000, 0.1, waited=0.1)
    assert alone.tokens_per_second == pytest.approx(10_000)
    assert sharing.tokens_per_second == pytest.approx(5_000)
    assert alone.budget(10**6) == sharing.budget(10**6)  # a run takes as long as before
    assert alone.budget(10**6, shared=True) == pytest.approx(100, abs=2)
    assert alone.budget(10, shared=True) < alone.budget(10)
