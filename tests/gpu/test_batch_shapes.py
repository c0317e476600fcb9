"""How batches are laid out: complete, within the model's length, and rounded up to few sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3e_runtime.gpu.batch_shapes import RECORDED_TOKENS, PackedLayout, PaddedLayout, layout_for, round_up

BATCHES = st.tuples(st.sampled_from([16, 100, 128, 512]), st.data())


def draw_texts(data, max_length):
    lengths = data.draw(st.lists(st.integers(1, max_length), min_size=1, max_size=40))
    return [np.arange(1, length + 1, dtype=np.int32) for length in lengths]


def filled(layout, texts, exact=False, types=None):
    size = layout.size([len(text) for text in texts], exact)
    shapes = layout.shapes(size)
    arrays = {name: np.full(shape, -7, layout.types[name]) for name, shape in shapes.items()}
    layout.fill(texts, size, arrays, types)
    return size, arrays


@given(BATCHES, st.booleans())
def test_padded_rows_hold_their_texts_and_a_mask_for_them(batch, exact):
    max_length, data = batch
    texts = draw_texts(data, max_length)
    size, arrays = filled(PaddedLayout(max_length), texts, exact)
    ids, mask = arrays["input_ids"], arrays["attention_mask"]
    assert ids.shape == mask.shape == (size.texts, size.tokens)
    assert size.tokens <= max_length
    for row, text in enumerate(texts):
        assert np.array_equal(ids[row, : len(text)], text)
        assert mask[row].sum() == len(text) == mask[row, : len(text)].sum()
    assert (mask[len(texts) :].sum(axis=1) == 1).all()
    assert ids.min() >= 0
    assert not exact or size.texts == len(texts)


@given(BATCHES, st.booleans())
def test_packed_texts_lie_end_to_end_and_none_is_longer_than_the_model_takes(batch, exact):
    max_length, data = batch
    texts = draw_texts(data, max_length)
    size, arrays = filled(PackedLayout(max_length, offsets=True), texts, exact)
    ends = arrays["cumulative_lengths"]
    assert ends[0] == 0
    assert ends[-1] == size.tokens == len(arrays["input_ids"])
    lengths = np.diff(ends)
    assert lengths.min() >= 1
    assert lengths.max() <= min(max_length, size.longest)
    for text, start, end in zip(texts, ends, ends[1:], strict=False):
        assert np.array_equal(arrays["input_ids"][start:end], text)
    expected = np.concatenate([np.arange(length) for length in lengths])
    assert np.array_equal(arrays["position_ids"], expected)
    places = arrays["token_offset"].reshape(-1)
    assert np.array_equal(np.sort(places), np.arange(size.texts * size.longest))
    rows = np.repeat(np.arange(size.texts), lengths)
    assert np.array_equal(places[: size.tokens], rows * size.longest + expected)


@given(BATCHES, st.booleans())
def test_types_lie_where_their_tokens_do(batch, exact):
    max_length, data = batch
    texts = draw_texts(data, max_length)
    for name in ("padded", "packed"):
        layout = layout_for(name, max_length, token_types=True)
        _, arrays = filled(layout, texts, exact, types=texts)  # the type of each token is its id
        assert np.array_equal(arrays["token_type_ids"], arrays["input_ids"])
        _, arrays = filled(layout, texts, exact)
        assert not arrays["token_type_ids"].any()


@pytest.mark.parametrize("layout", [PaddedLayout(512), PackedLayout(512)])
def test_small_batches_have_few_sizes_and_large_ones_their_own(layout):
    sizes = {layout.size([length]) for length in range(1, 513)}
    assert len(sizes) <= 21
    assert all(size.recorded for size in sizes)
    assert not layout.size([512] * 9).recorded
    assert layout.size([512] * 9).texts == 9


@given(st.integers(1, 1 << 20))
def test_rounding_up_adds_less_than_a_quarter(size):
    rounded = round_up(size)
    assert size <= rounded < size * 1.25 + 1
    assert round_up(rounded) == rounded
    assert round_up(size, 8) % 8 == 0


@given(st.lists(st.integers(1, 512), min_size=1, max_size=60))
def test_a_recorded_batch_is_never_larger_than_recorded_batches_may_be(lengths):
    padded = PaddedLayout(512).size(lengths)
    packed = PackedLayout(512).size(lengths)
    assert not padded.recorded or padded.texts * padded.tokens <= RECORDED_TOKENS
    assert not packed.recorded or packed.tokens <= RECORDED_TOKENS


def test_a_layout_is_found_by_its_name():
    assert isinstance(layout_for("padded", 512), PaddedLayout)
    assert set(layout_for("packed", 512).types) == {"input_ids", "position_ids", "cumulative_lengths"}
    assert "token_offset" in layout_for("packed", 512, offsets=True).types
    for name in ("padded", "packed"):
        assert "token_type_ids" in layout_for(name, 512, token_types=True).types
