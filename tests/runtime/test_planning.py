"""The plan of batches: complete, bounded, little padding."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3e_runtime.planning import MAX_PADDING_SHARE, RUN_OVERHEAD_TOKENS, plan, plan_packed, work_of


@given(
    st.lists(st.integers(1, 512), max_size=300),
    st.integers(1, 8192),
    st.none() | st.integers(1, 64),
)
def test_every_text_runs_once_within_the_bounds(lengths, budget, max_batch):
    lengths = np.array(lengths, dtype=np.int64)
    batches = list(plan(lengths, budget, lambda longest: max_batch))
    order = [index for batch in batches for index in batch.indices]
    assert sorted(order) == list(range(len(lengths)))
    for batch in batches:
        real = lengths[batch.indices]
        computed = len(real) * real.max()
        assert batch.tokens == computed <= max(budget, real.max())
        assert max_batch is None or len(real) <= max_batch
        assert computed - real.sum() <= max(MAX_PADDING_SHARE * computed, RUN_OVERHEAD_TOKENS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("texts", [64, 512, 8192])
def test_padding_stays_below_five_percent_on_mixed_lengths(seed, texts):
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(3.5, 0.8, texts), 3, 512).astype(np.int64)
    computed = sum(batch.tokens for batch in plan(lengths, 4096))
    assert 1 - lengths.sum() / computed < 0.05


def test_texts_of_one_length_fill_the_budget():
    batches = list(plan(np.full(100, 32, dtype=np.int64), 1024))
    assert [len(batch.indices) for batch in batches] == [32, 32, 32, 4]


def test_the_bound_on_texts_follows_the_longest_one():
    lengths = np.array([512] * 10 + [8] * 100, dtype=np.int64)
    batches = list(plan(lengths, 1 << 20, lambda longest: 4 if longest > 64 else 32))
    assert [len(batch.indices) for batch in batches] == [4, 4, 2, 32, 32, 32, 4]


@given(
    st.lists(st.integers(1, 512), max_size=300),
    st.integers(1, 8192),
    st.none() | st.integers(1, 64),
)
def test_packed_batches_hold_every_text_once_within_the_bounds(lengths, budget, max_batch):
    lengths = np.array(lengths, dtype=np.int64)
    batches = list(plan_packed(lengths, budget, max_batch))
    order = [index for batch in batches for index in batch.indices]
    assert sorted(order) == list(range(len(lengths)))
    for batch, following in itertools.zip_longest(batches, batches[1:]):
        real = lengths[batch.indices]
        assert batch.tokens == real.sum() <= max(budget, real.max())
        full = max_batch is not None and len(real) == max_batch
        assert following is None or full or real.sum() + lengths[following.indices[0]] > budget


def test_long_texts_count_by_their_attention_too():
    assert [work_of(length) for length in (0, 1, 512, 2048, 8192)] == [0, 1, 512, 3584, 38912]
    lengths = np.array([8192, *[64] * 300], dtype=np.int64)
    batches = list(plan_packed(lengths, 16384))
    assert [(len(batch.indices), batch.tokens) for batch in batches] == [(1, 8192), (256, 16384), (44, 2816)]
