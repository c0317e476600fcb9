"""What holds texts is read text by text; what holds something else, or has no order, is refused."""

import collections
import types

import numpy as np
import pyarrow as pa
import pytest

from m3e_runtime import Encoder, InvalidTextError
from m3e_runtime.containers import as_list
from m3e_runtime.integrations.embedder import TextEmbedder

TEXTS = ["今天天气很好", "short", ""]


class Frame:
    """As a data frame is read: over the names of its columns."""

    columns = ("text",)

    def __iter__(self):
        return iter(self.columns)


class Series:
    """As a column of a data frame is read."""

    ndim = 1

    def __iter__(self):
        return iter(TEXTS)


@pytest.fixture(scope="module")
def encoder(tiny_bundle):
    return Encoder.load(tiny_bundle)


HOLDERS = [
    list(TEXTS),
    tuple(TEXTS),
    np.array(TEXTS),
    np.array(TEXTS, dtype=object),
    Series(),
    pa.array(TEXTS),
    pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    dict.fromkeys(TEXTS).keys(),
    collections.deque(TEXTS),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_what_holds_texts_in_order_is_read(encoder, holder):
    expected = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(holder), expected)
    np.testing.assert_array_equal(list(encoder.encode_iter(holder)), expected)


def test_generators_are_read(encoder):
    np.testing.assert_array_equal(encoder.encode(text for text in TEXTS), encoder.encode(TEXTS))
    np.testing.assert_array_equal(encoder.encode(np.str_("short")), encoder.encode("short"))


REFUSED = [
    ({"a": "b"}, "values"),
    (types.MappingProxyType({"a": "b"}), "values"),
    ({"a", "b"}, "no order"),
    (frozenset("ab"), "no order"),
    (Frame(), "columns"),
    (pa.table({"text": TEXTS}), "columns"),
    (np.array([["a", "b"]]), "in a row"),
    (np.array("a"), "in a row"),
    (b"bytes", "list of strings"),
    (5, "list of strings"),
]


@pytest.mark.parametrize(("holder", "advice"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_holds_something_else_is_refused_and_told_what_to_pass(encoder, holder, advice):
    for encode in (encoder.encode, encoder.encode_iter, as_list):
        with pytest.raises(InvalidTextError, match=f"{type(holder).__name__} given.*{advice}"):
            encode(holder)


def test_a_string_is_not_read_letter_by_letter(encoder, tiny_bundle):
    embedder = TextEmbedder(tiny_bundle)
    for encode in (encoder.encode_iter, embedder.documents, embedder.queries):
        with pytest.raises(InvalidTextError, match=r"letter by letter; pass a list: \[text\]"):
            encode("a text")


def test_a_missing_value_is_told_by_its_place(encoder):
    with pytest.raises(InvalidTextError, match="text 1 is NoneType"):
        encoder.encode(pa.array(["a", None]))
    with pytest.raises(InvalidTextError, match="text 1 is float"):
        encoder.encode(np.array(["a", float("nan")], dtype=object))


def test_a_lone_surrogate_is_told_by_its_place_among_all_texts(encoder):
    texts = ["a"] * 9000  # more than are sorted and tokenized together
    texts[8999] = "\ud800"
    with pytest.raises(InvalidTextError, match="text 8999 holds a lone surrogate"):
        encoder.encode(texts)


def test_pandas(encoder):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    np.testing.assert_array_equal(encoder.encode(pandas.Series(TEXTS)), encoder.encode(TEXTS))
    with pytest.raises(InvalidTextError, match="DataFrame given"):
        encoder.encode(pandas.DataFrame({"text": TEXTS}))
