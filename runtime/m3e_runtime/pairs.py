"""Pairs of texts as token ids: which tokens of each text are kept, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import BundleError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PairTemplate", "TokenizedPairs", "kept_tokens"]

TokenIds = npt.NDArray[np.int32]


class TokenizedPairs(NamedTuple):
    """Pairs as token ids.

    Attributes:
        ids: int32 ``[length]`` for each pair, special tokens included.
        types: the type of each token, int32 ``[length]`` for each pair.
        cut: whether a text of the pair was truncated.
    """

    ids: list[TokenIds]
    types: list[TokenIds]
    cut: list[bool]


def kept_tokens(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens two texts keep of their ``first`` and ``second``, if there is room for ``room``.

    The rule is transformers' ``truncation="longest_first"``: the longer text loses its last tokens until both
    have the same length, then both do. An odd token goes to the longer text, or to the second of two equals.
    """
    if first + second <= room:
        return first, second
    shorter, longer = room // 2, room - room // 2
    least = min(first, second)
    if least <= shorter:
        shorter, longer = least, room - least
    return (longer, shorter) if first > second else (shorter, longer)


@dataclass(frozen=True)
class PairTemplate:
    """The special tokens around the two texts of a pair, and the types of all tokens.

    Attributes:
        special: ids of the special tokens before the first text, between the texts, and after the second,
            int32 ``[n]`` each.
        types: the types of these five parts, in their order.
    """

    special: tuple[TokenIds, TokenIds, TokenIds]
    types: tuple[TokenIds, TokenIds, TokenIds, TokenIds, TokenIds]

    @staticmethod
    def of(tokenizer: Tokenizer) -> PairTemplate:
        """The template of ``tokenizer``.

        Raises:
            BundleError: it does not put the first text before the second, each once.
        """
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel

        probe = Tokenizer(WordLevel({"a": 0}, unk_token="a"))  # noqa: S106 - each text is one token
        if tokenizer.post_processor is not None:
            probe.post_processor = tokenizer.post_processor
        encoding = probe.encode("a", "a")
        texts = [text for text in encoding.sequence_ids if text is not None]
        if texts != [0, 1]:
            raise BundleError(
                "the tokenizer does not put the two texts of a pair one after the other, each once; such "
                "models are not supported."
            )
        first, second = map(encoding.sequence_ids.index, texts)
        ids, types = (np.array(each, dtype=np.int32) for each in (encoding.ids, encoding.type_ids))
        places = (slice(first), slice(first, first + 1), slice(first + 1, second),
                  slice(second, second + 1), slice(second + 1, None))  # fmt: skip
        before, a, between, b, after = (types[place] for place in places)
        return PairTemplate((ids[places[0]], ids[places[2]], ids[places[4]]), (before, a, between, b, after))

    @property
    def special_tokens(self) -> int:
        """Number of special tokens of a pair."""
        return sum(map(len, self.special))

    def join(self, first: TokenIds, second: TokenIds) -> tuple[TokenIds, TokenIds]:
        """The ids and types of a pair, from the ids of its texts."""
        before, between, after = self.special
        ids = np.concatenate((before, first, between, second, after))
        kinds = self.types
        types = np.concatenate(
            (kinds[0], kinds[1].repeat(len(first)), kinds[2], kinds[3].repeat(len(second)), kinds[4])
        )
        return ids, types
