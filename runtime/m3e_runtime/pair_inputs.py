"""What a reranker takes: pairs of texts, or single texts for a classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from m3e_runtime.containers import as_iterator, as_list
from m3e_runtime.errors import InvalidTextError, TextTooLongError
from m3e_runtime.pairs import TokenizedPairs
from m3e_runtime.tokenization import TextTokenizer

__all__ = ["PairInput", "as_pairs", "check_valid", "ranking_pairs", "tokenize_pairs", "with_prompt"]

PairInput = tuple[str, ...]
"""A pair of texts, or one text alone."""

_ADVICE = "pass a list of pairs: [(query, passage), …]"


def as_pairs(sentences: Any) -> tuple[list[PairInput], bool]:
    """Pairs as tuples of one or two texts, and whether a single one was given.

    A string is a single text. A list whose first element is a string is a single pair, as in CrossEncoder.

    Raises:
        InvalidTextError: an element is neither a string nor a list of one or two strings, or the container
            has no defined order.
    """
    if isinstance(sentences, str):
        return [(sentences,)], True
    has_rows = isinstance(sentences, np.ndarray) and sentences.ndim > 0
    elements = list(sentences if has_rows else as_iterator(sentences))
    if elements and isinstance(elements[0], str):
        return [_pair("the pair", elements)], True
    return [_pair(f"pair {index}", each) for index, each in enumerate(elements)], False


def ranking_pairs(query: Any, documents: Iterable[str]) -> tuple[list[str], list[PairInput]]:
    """The documents as a list, and the pair of the query and each of them.

    Raises:
        InvalidTextError: the query or a document is not a string.
    """
    if not isinstance(query, str):
        raise InvalidTextError(f"the query is {type(query).__name__}, not a string.")
    texts = as_list(documents, "document")
    return texts, [(query, text) for text in texts]


def _pair(name: str, element: Any) -> PairInput:
    if isinstance(element, str):
        return (element,)
    if not isinstance(element, (list, tuple, np.ndarray)):
        raise InvalidTextError(f"{name} is {type(element).__name__}, not a pair of strings; {_ADVICE}.")
    if not 1 <= len(element) <= 2:
        raise InvalidTextError(f"{name} has {len(element)} texts, not two; {_ADVICE}.")
    for text in element:
        if not isinstance(text, str):
            raise InvalidTextError(f"{name} holds {type(text).__name__}, not a string; {_ADVICE}.")
    return tuple(element)


def with_prompt(prompt: str, pairs: list[PairInput]) -> list[PairInput]:
    """Pairs with ``prompt`` before each first text."""
    return [(prompt + first, *rest) for first, *rest in pairs] if prompt else pairs


def check_valid(index: int, pair: PairInput) -> None:
    """Check that pair ``index`` is valid Unicode.

    Raises:
        InvalidTextError: it has a lone surrogate.
    """
    for text in pair:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"pair {index} holds a lone surrogate at character {error.start}; it is not valid Unicode. "
                "Clean it first, e.g. text.encode('utf-8', 'replace').decode()."
            ) from error


def tokenize_pairs(
    tokenizer: TextTokenizer, pairs: Sequence[PairInput], truncate: bool = True
) -> TokenizedPairs:
    """See :meth:`m3e_runtime.Reranker.tokenize`."""
    tokens = _tokenized(tokenizer, pairs)
    if not truncate and any(tokens.cut):
        raise TextTooLongError(
            f"pair {tokens.cut.index(True)} has more than the {tokenizer.max_length} tokens that the model "
            "takes; shorten it, or let it be truncated."
        )
    return tokens


def _tokenized(tokenizer: TextTokenizer, pairs: Sequence[PairInput]) -> TokenizedPairs:
    alone = [index for index, pair in enumerate(pairs) if len(pair) == 1]
    if not alone:
        return tokenizer.encode_pairs_in_pieces([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    ids, cut = tokenizer.encode_marked_in_pieces([pairs[index][0] for index in alone])
    singles = TokenizedPairs(ids, [np.zeros_like(each) for each in ids], cut)
    if len(alone) == len(pairs):
        return singles
    found = dict(zip(alone, zip(*singles, strict=True), strict=True))
    others = [index for index in range(len(pairs)) if index not in found]
    of_pairs = _tokenized(tokenizer, [pairs[index] for index in others])
    found.update(zip(others, zip(*of_pairs, strict=True), strict=True))
    columns = zip(*(found[index] for index in range(len(pairs))), strict=True)
    return TokenizedPairs(*map(list, columns))
