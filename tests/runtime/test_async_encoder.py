"""Many callers of one engine: what they get, when they are refused, and what happens when they go away."""

import asyncio
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from m3e_runtime import (
    AsyncEncoder,
    ChunkOptions,
    ClosedError,
    Encoder,
    InvalidTextError,
    OptionError,
    OverloadedError,
)
from m3e_runtime.backends import native
from m3e_runtime.errors import BatchTooLargeError, EngineRunError, TextTooLongError
from m3e_runtime.scheduling import QueueLimits
from m3e_runtime.scheduling.admission import LARGE_TOKENS

LONG = "a longer text about nothing " * 60


@pytest.fixture
def held(bundle, hold):
    """An encoder whose engine is held."""
    return hold(Encoder.load(bundle))


async def occupy(held, service):
    """Start a run that lasts until ``free`` is set."""
    task = asyncio.ensure_future(service.encode("first"))
    await asyncio.to_thread(held.busy.wait, 30)
    return task


def random_texts(count, seed=0):
    chosen = random.Random(seed)
    words = ["今天", "天气", "很好", "card", "account", "weather", "，", "绑定", "银行卡", "3.14"]
    return [" ".join(chosen.choices(words, k=chosen.choice((1, 2, 5, 9, 40, 700)))) for _ in range(count)]


def test_vectors_equal_those_of_encode(encoder):
    if reason := native.missing():
        pytest.skip(reason)
    texts = random_texts(200)
    requests = [texts[i] if i % 3 else texts[i : i + i % 20] for i in range(len(texts))]
    options = [
        {},
        {"normalize_embeddings": True},
        {"normalize_embeddings": True, "truncate_dim": 16},
        {"precision": "ubinary"},
        {"prompt": "question: ", "precision": "float16"},
    ]

    async def main():
        async with AsyncEncoder(encoder, run_seconds=0.001) as service:
            return await asyncio.gather(
                *(
                    service.encode(
                        request, priority=("query", "document")[i % 2], **options[i % len(options)]
                    )
                    for i, request in enumerate(requests)
                )
            )

    for i, (request, found) in enumerate(zip(requests, asyncio.run(main()), strict=True)):
        expected = encoder.encode(request, **options[i % len(options)])
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_late_chunks_share_runs_with_texts(encoder):
    """Chunks of several windows, and whole texts that are computed in the same runs."""
    if reason := native.missing():
        pytest.skip(reason)
    options = ChunkOptions(tokens=40, late=True)
    texts = random_texts(40)

    async def chunks(service, some):
        found = await service.tokenize_chunks(some, options, "query", "p: ", most=10_000)
        encoded = await service.encode_tokenized_chunks(found, prompt="p: ")
        return encoded.vectors

    async def main():
        async with AsyncEncoder(encoder, run_seconds=0.001) as service:
            calls = [chunks(service, texts[at : at + 10]) for at in range(0, 40, 10)]
            return await asyncio.gather(*calls, *(service.encode(text) for text in texts))

    found = asyncio.run(main())
    expected = encoder.encode_chunks(texts, prompt="p: ", chunking=options)
    assert np.concatenate(found[:4]).tobytes() == np.concatenate([it.vectors for it in expected]).tobytes()
    assert np.stack(found[4:]).tobytes() == encoder.encode(texts).tobytes()


@pytest.mark.parametrize("artifact", ["fp32-cpu", "int8-cpu"])
def test_padding_engines(bundle, artifact):
    padding = Encoder.load(bundle, backend="onnxruntime", artifact=artifact)
    texts = random_texts(60)
    reports = []

    async def main():
        async with AsyncEncoder(padding, on_run=reports.append) as service:
            return await asyncio.gather(*map(service.encode, texts))

    found = np.stack(asyncio.run(main()))
    np.testing.assert_allclose(found, padding.encode(texts), atol=1e-5 if artifact == "fp32-cpu" else 0.05)
    assert sum(report.tokens for report in reports) < sum(report.computed_tokens for report in reports)


def test_an_idle_engine_starts_at_once_and_a_busy_one_batches(held):
    async def main():
        async with AsyncEncoder(held.encoder) as service:
            first = await occupy(held, service)
            others = [asyncio.ensure_future(service.encode(text)) for text in "abcdefghijkl"]
            await asyncio.sleep(0)
            assert service.waiting_texts == 13
            held.free.set()
            await asyncio.gather(first, *others)
            assert service.waiting_texts == service.waiting_tokens == 0

    asyncio.run(main())
    assert held.runs == [1, 12]


def test_a_large_request_is_computed_in_bounded_runs(held):
    held.free.set()

    async def main():
        async with AsyncEncoder(held.encoder, run_seconds=1e-6) as service:
            await service.encode([LONG] * 20)

    asyncio.run(main())
    assert sum(held.runs) == 20
    assert max(held.runs) < 10


def test_cancelling_removes_the_texts(held):
    async def main():
        async with AsyncEncoder(held.encoder) as service:
            first = await occupy(held, service)
            leaving = asyncio.ensure_future(service.encode(["gone"] * 50))
            staying = asyncio.ensure_future(service.encode(["here"] * 3))
            await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert service.waiting_texts == 4
            held.free.set()
            await asyncio.gather(first, staying)

    asyncio.run(main())
    assert held.runs == [1, 3]


def test_cancelling_during_a_run_does_not_affect_others(held):
    async def main():
        async with AsyncEncoder(held.encoder) as service:
            first = await occupy(held, service)
            other = asyncio.ensure_future(service.encode("other"))
            await asyncio.sleep(0)
            first.cancel()
            held.free.set()
            vector = await other
            assert service.waiting_texts == service.waiting_tokens == 0
            return vector

    assert asyncio.run(main()).ndim == 1


@pytest.mark.parametrize(
    "limits", [QueueLimits(texts=5, document_share=0.6), QueueLimits(tokens=20, document_share=0.6)]
)
def test_a_full_queue_rejects_with_retry_after(held, limits):
    async def main():
        async with AsyncEncoder(held.encoder, limits=limits) as service:
            first = await occupy(held, service)
            waiting = [asyncio.ensure_future(service.encode("a", priority="document")) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError) as refused:  # documents have a part of the room only
                await service.encode(["a"] * 2, priority="document")
            assert refused.value.retry_after > 0
            waiting.append(asyncio.ensure_future(service.encode(["a"] * 2)))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await service.encode(["a"] * 3)
            held.free.set()
            await asyncio.gather(first, *waiting)
            await service.encode(["a"] * 3)

    asyncio.run(main())


@pytest.mark.parametrize("limits", [{"texts": 10}, {"tokens": 100}, {"texts": 1, "tokens": 1}])
@pytest.mark.parametrize("priority", ["query", "document"])
def test_a_request_that_is_larger_than_the_queue_is_computed(encoder, limits, priority):
    texts = [LONG, *"abcdefghijklmnopqrstuvwxyz"]

    async def main():
        async with AsyncEncoder(encoder, limits=QueueLimits(**limits)) as service:
            found = await service.encode(texts, priority=priority)
            assert service.waiting_texts == service.waiting_tokens == 0
            await service.encode("a", priority=priority)  # there is room again
            return found

    np.testing.assert_allclose(asyncio.run(main()), encoder.encode(texts), atol=1e-6)


def test_a_query_passes_a_large_request(held):
    """It waits for the run that has begun, and not for what is left of the large request."""
    done = []

    async def main():
        async with AsyncEncoder(held.encoder, run_seconds=1e-6) as service:
            first = await occupy(held, service)
            large = asyncio.ensure_future(service.encode([LONG] * 300, priority="document"))
            while service.waiting_texts < 301:
                await asyncio.sleep(0.01)
            query = asyncio.ensure_future(service.encode("now"))
            for name, task in (("large", large), ("query", query)):
                task.add_done_callback(lambda _, name=name: done.append((name, len(held.runs))))
            await asyncio.sleep(0)
            held.free.set()
            await asyncio.gather(first, large, query)

    asyncio.run(main())
    assert [name for name, _ in done] == ["query", "large"]
    assert done[0][1] < done[1][1] / 4


def test_large_requests_are_bounded_and_leave_room_for_small_ones(held):
    limits = QueueLimits(tokens=3 * LARGE_TOKENS, document_share=0.7)
    texts = [LONG] * (LARGE_TOKENS // held.encoder.max_seq_length + 8)

    async def main():
        async with AsyncEncoder(held.encoder, limits=limits) as service:
            first = await occupy(held, service)
            large = [asyncio.ensure_future(service.encode(texts, priority="document")) for _ in range(2)]
            while service.waiting_texts < 1 + 2 * len(texts):
                await asyncio.sleep(0.01)
            with pytest.raises(OverloadedError) as refused:
                await service.encode(texts, priority="document")
            assert refused.value.retry_after > 0
            small = asyncio.ensure_future(service.encode(["a"] * 3))
            await asyncio.sleep(0)
            held.free.set()
            await asyncio.gather(first, small, *large)

    asyncio.run(main())


def test_a_request_that_exceeds_its_time_is_rejected_with_a_size_that_fits(held):
    """At once, and before anything is computed: nobody would wait for the vectors."""

    async def main():
        async with AsyncEncoder(held.encoder) as service:
            held.free.set()
            await service.warm_up()
            runs, speed = len(held.runs), service.tokens_per_second
            token_ids = await service.tokenize(["a", LONG] * 50)
            tokens = sum(map(len, token_ids))
            with pytest.raises(BatchTooLargeError, match=r"send at most (\d+) such texts") as refused:
                await service.encode_token_ids(token_ids, "document", seconds=tokens / speed / 2)
            fitting = int(re.search(r"at most (\d+)", str(refused.value))[1])
            assert 25 <= fitting < 50
            assert len(held.runs) == runs
            await service.encode_token_ids(token_ids, "document", seconds=60 + 2 * tokens / speed)
            assert service.waiting_tokens == 0

    asyncio.run(main())


def test_a_large_request_that_others_would_delay_too_long_is_rejected(held):
    """Later it has time enough; and the one that was let in first is not made late."""

    async def main():
        async with AsyncEncoder(held.encoder) as service:
            held.free.set()
            await service.warm_up()
            held.free.clear()
            held.busy.clear()
            token_ids = [np.full(held.encoder.max_seq_length, 5, dtype=np.int32)] * 200
            alone = sum(map(len, token_ids)) / service.tokens_per_second
            first = asyncio.ensure_future(service.encode_token_ids(token_ids, seconds=1.5 * alone))
            await asyncio.sleep(0)
            for seconds in (1.5 * alone, 100 * alone):
                with pytest.raises(OverloadedError, match="in time"):
                    await service.encode_token_ids(token_ids, seconds=seconds)
            query = asyncio.ensure_future(service.encode_token_ids(token_ids[:1], seconds=1.5 * alone))
            await asyncio.sleep(0)
            held.free.set()
            await asyncio.gather(first, query)

    asyncio.run(main())


@pytest.mark.parametrize("error", [EngineRunError("the device is lost"), MemoryError("bad_alloc")])
def test_a_failed_run_fails_its_callers_only(held, error):
    async def main():
        async with AsyncEncoder(held.encoder) as service:
            first = await occupy(held, service)
            held.error = error
            held.free.set()
            with pytest.raises(EngineRunError, match=str(error)):
                await first
            held.error = None
            assert (await service.encode("again")).ndim == 1
            assert service.waiting_texts == service.waiting_tokens == 0

    asyncio.run(main())


def test_closing_finishes_waiting_calls_and_rejects_new_ones(held):
    async def main():
        service = AsyncEncoder(held.encoder)
        first = await occupy(held, service)
        waiting = [asyncio.ensure_future(service.encode(text)) for text in ("b", "c")]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(service.close())
        await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await service.encode("late")
        held.free.set()
        await closing
        assert len(await asyncio.gather(first, *waiting)) == 3
        assert not service.alive
        await service.close()

    asyncio.run(main())


def test_closing_finishes_calls_whose_other_steps_are_to_come(held):
    """One is being computed, and its vectors are finished in another thread; one is being tokenized."""
    many, longer = ["one of many texts"] * 1500, ["a longer text " * 50] * 4

    async def main():
        service = AsyncEncoder(held.encoder)
        first = await occupy(held, service)
        computed = asyncio.ensure_future(service.encode(many))
        while service.waiting_texts < len(many):
            await asyncio.sleep(0.001)
        tokenized = asyncio.ensure_future(service.encode(longer))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(service.close())
        await asyncio.sleep(0)
        held.free.set()
        await closing
        assert not service.alive
        return await asyncio.gather(first, computed, tokenized)

    _, computed, tokenized = asyncio.run(main())
    np.testing.assert_array_equal(computed, held.encoder.encode(many))
    np.testing.assert_array_equal(tokenized, held.encoder.encode(longer))


def test_every_close_returns_when_it_is_closed(held):
    """A second one, and one after a first that was cancelled."""

    async def main():
        service = AsyncEncoder(held.encoder)
        first = await occupy(held, service)
        cancelled, second = (asyncio.ensure_future(service.close()) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        done, _ = await asyncio.wait([cancelled, second], timeout=0.1)
        assert done == {cancelled}
        held.free.set()
        await second
        assert not service.alive
        assert (await first).ndim == 1

    asyncio.run(main())


def test_it_can_be_closed_after_the_end_of_its_event_loop(held):
    service = AsyncEncoder(held.encoder)
    held.free.set()

    async def leave():
        task = asyncio.ensure_future(service.encode(["left behind"] * 100))
        await asyncio.sleep(0)
        return task

    asyncio.run(leave())
    assert service.waiting_texts == 0
    asyncio.run(service.close())
    assert not service.alive
    with pytest.raises(ClosedError):
        asyncio.run(service.encode("late"))


def test_it_is_not_closed_from_another_event_loop_while_its_own_runs(encoder):
    async def main():
        async with AsyncEncoder(encoder) as service:
            with pytest.raises(OptionError, match="close it there"):
                await asyncio.to_thread(asyncio.run, service.close())
            assert (await service.encode("a")).ndim == 1

    asyncio.run(main())


def test_it_belongs_to_one_event_loop(encoder):
    service = AsyncEncoder(encoder)

    async def main():
        await service.encode("a")

    asyncio.run(main())
    with pytest.raises(OptionError, match="event loop"):
        asyncio.run(main())


def test_no_texts_give_an_empty_matrix(encoder):
    async def main():
        async with AsyncEncoder(encoder) as service:
            return await service.encode([])

    np.testing.assert_array_equal(asyncio.run(main()), encoder.encode([]))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"sentences": 5}, InvalidTextError),
        ({"sentences": ["a", None]}, InvalidTextError),
        ({"sentences": "a\ud800"}, InvalidTextError),
        ({"sentences": ["a\ud800"] * 600}, InvalidTextError),
        ({"sentences": "a", "precision": "int4"}, OptionError),
        ({"sentences": "a", "truncate_dim": 10_000}, OptionError),
        ({"sentences": "a", "prompt_name": "none"}, OptionError),
        ({"sentences": "a", "priority": "urgent"}, OptionError),
    ],
)
def test_errors_are_typed(encoder, call, error):
    async def main():
        async with AsyncEncoder(encoder) as service:
            with pytest.raises(error):
                await service.encode(**call)
            assert service.waiting_texts == service.waiting_tokens == 0

    asyncio.run(main())


@pytest.mark.parametrize("others", [[], ["short", "又" * 400]])
def test_a_long_text_can_be_rejected(encoder, others):
    """Few texts are tokenized at once, more in another thread."""
    most = encoder.max_seq_length

    async def main():
        async with AsyncEncoder(encoder) as service:
            for characters, tokens in ((most - 2, most), (most + 9, most)):
                token_ids = await service.tokenize(["今" * characters, *others])
                assert len(token_ids[0]) == tokens
            await service.tokenize(["今" * (most - 2), *(text[:90] for text in others)], truncate=False)
            with pytest.raises(TextTooLongError, match=f"text 0 has {most + 1} tokens, .* takes {most}"):
                await service.tokenize(["今" * (most - 1), *others], truncate=False)

    asyncio.run(main())


@pytest.mark.parametrize(
    "limits",
    [
        {"texts": 0},
        {"tokens": 0},
        {"document_share": 0},
        {"texts": "5"},
        {"tokens": 5.0},
        {"document_share": "1"},
    ],
)
def test_invalid_limits_are_rejected(limits):
    with pytest.raises(OptionError, match=next(iter(limits))):
        QueueLimits(**limits)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", None])
def test_run_seconds_must_be_positive(encoder, seconds):
    with pytest.raises(OptionError, match="run_seconds"):
        AsyncEncoder(encoder, run_seconds=seconds)


def test_importing_the_encoder_brings_no_asyncio_and_no_metadata_of_packages():
    code = (
        "import sys; before = {*sys.modules}; import m3e_runtime; m3e_runtime.Encoder; "
        "print(*{'asyncio', 'email', 'importlib.metadata', 'numpy'} & (sys.modules.keys() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["numpy"]


@pytest.fixture(scope="module")
def leaving_out(unpooled_bundle):
    """An encoder that does not pool its prompts."""
    return Encoder.load(unpooled_bundle)


def test_prompts_are_excluded_from_pooling_in_shared_runs(leaving_out):
    texts, prompts = random_texts(24), ("", "query: ", "a longer prompt for a passage: ")

    async def main():
        async with AsyncEncoder(leaving_out) as service:
            return await asyncio.gather(
                *(service.encode(text, prompt=prompts[i % 3]) for i, text in enumerate(texts))
            )

    found = asyncio.run(main())
    expected = leaving_out.encode(texts, prompt=[prompts[i % 3] for i in range(len(texts))])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(leaving_out.encode(texts) - expected)[1::3].max() > 1e-3
