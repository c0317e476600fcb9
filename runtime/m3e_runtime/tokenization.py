"""Texts to token ids, truncated at the model's maximum length."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from m3e_runtime.errors import (
    BundleError,
    DependencyMissingError,
    InvalidTextError,
    OptionError,
    TextTooLongError,
)
from m3e_runtime.pairs import TokenizedPairs
from m3e_runtime.text_lengths import longest_whole
from m3e_runtime.tokenizers_package import PackageTokenizer

try:
    from m3e_runtime._native.tokenizer import NativeTokenizer
except ImportError as error:
    _import_error: ImportError | None = error
else:
    _import_error = None

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from m3e_runtime.long_texts import Splits, Tails

__all__ = ["TextTokenizer"]

TokenIds = npt.NDArray[np.int32]

_PIECE_TEXTS = 1024
_PIECE_CHARACTERS = 1 << 19
"""Limits of one call to the tokenizer. Signals wait for its end, some tenths of a second."""


@dataclass(frozen=True)
class TextTokenizer:
    """A fast tokenizer with the model's truncation. Safe to use from several threads.

    Attributes:
        info: which tokenizer it is: ``"native"``, or ``tokenizers`` with its version and the reason.
    """

    info: str
    _fast: NativeTokenizer | PackageTokenizer
    _load_package: Callable[[int], PackageTokenizer]  # the same one with a limit

    @staticmethod
    def from_file(path: Path, max_length: int, threads: int = 1, native: bool = True) -> TextTokenizer:
        """Load a ``tokenizer.json``.

        Args:
            path: the file. It stays mapped, because parts of it may be needed later.
            max_length: tokens that truncation keeps, special ones included.
            threads: most threads that the native tokenizer uses for a batch.
            native: use the engine's tokenizer if it can read the file, else the package ``tokenizers``.

        Raises:
            BundleError: the file is not a tokenizer.
            DependencyMissingError: it needs the package ``tokenizers``, which is not installed.
        """
        content = _mapped(path)
        fast = _load_native(content, max_length, threads) if native else "asked for"
        if isinstance(fast, str):
            purpose = f"the tokenizer {path}, in the package tokenizers ({fast}),"
            return _packaged(_load_package(path, content, purpose, max_length), fast)
        purpose = "tokens with their positions in the text"
        return TextTokenizer("native", fast, partial(_load_package, path, content, purpose))

    @staticmethod
    def wrap(tokenizer: Tokenizer, max_length: int) -> TextTokenizer:
        """Wrap ``tokenizer``. Its padding and truncation are replaced by the model's."""
        return _packaged(PackageTokenizer(tokenizer, max_length), "asked for")

    def __deepcopy__(self, memo: dict[int, Any]) -> TextTokenizer:
        return replace(self, _fast=deepcopy(self._fast, memo))  # the mapped file cannot be copied

    @property
    def max_length(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self._fast.max_length

    @property
    def special_tokens(self) -> int:
        """Number of special tokens that one text gets."""
        return self._fast.special_tokens

    @property
    def vocabulary_size(self) -> int:
        """Largest token id + 1."""
        return self._fast.vocabulary_size

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The same tokenizer by the package ``tokenizers``. It is loaded on first use.

        Raises:
            DependencyMissingError: the package is not installed.
        """
        if isinstance(self._fast, PackageTokenizer):
            return self._fast.tokenizer
        return self._load_package(self.max_length).tokenizer

    def limited(self, max_length: int) -> TextTokenizer:
        """A copy that truncates texts at ``max_length`` tokens."""
        if max_length == self.max_length:
            return self
        return replace(self, _fast=self._fast.limited(max_length))

    def encode(self, text: str, truncate: bool = True) -> TokenIds:
        """Token ids of one text with special tokens, int32 ``[length]``, length ≤ ``max_length``.

        Holds the global interpreter lock. Use it for short texts, which take microseconds.

        Raises:
            InvalidTextError: not a string, or a lone surrogate in it.
            TextTooLongError: it is too long, and ``truncate`` is false.
        """
        if not truncate:
            return self.encode_batch([text], truncate)[0]
        try:
            return self._fast.encode(text)
        except (TypeError, UnicodeEncodeError) as error:
            raise _explain([text]) from error

    def prompt_length(self, prompt: str) -> int:
        """Number of tokens of ``prompt`` at the start of a text, with the special tokens before it.

        Counted as in sentence-transformers: the tokens of the prompt alone, without a special token at its
        end. An empty prompt has none.

        Raises:
            InvalidTextError: as :meth:`encode`.
        """
        if not prompt:
            return 0
        ids = self.encode(prompt).tolist()
        return len(ids) - sum(last in self._fast.special_ids for last in ids[-1:])

    def encode_tails(self, texts: Sequence[str]) -> list[TokenIds]:
        """As :meth:`encode_batch`, but texts that are too long keep their last tokens.

        Raises:
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            TextTooLongError: a text is too long to find the tokens of its end.
            DependencyMissingError: the package ``tokenizers`` is not installed.
        """
        try:
            return [np.array(self._tails.ids(text), dtype=np.int32) for text in texts]
        except TextTooLongError:
            raise
        except TypeError as error:
            raise _explain(texts) from error

    @cached_property
    def _tails(self) -> Tails:
        tokenizer = self.tokenizer  # first, because its package is an extra
        from m3e_runtime.long_texts import Tails

        return Tails(tokenizer, self.splits, self.max_length, longest_whole(self.max_length))

    @cached_property
    def splits(self) -> Splits:
        """The places where a text can be split before it is tokenized."""
        tokenizer = self.tokenizer
        from m3e_runtime.long_texts import Splits

        return Splits(tokenizer)

    def encode_batch(self, texts: Sequence[str], truncate: bool = True) -> list[TokenIds]:
        """Token ids of each text. Releases the global interpreter lock and uses several threads.

        Raises:
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            TextTooLongError: one of them is too long, and ``truncate`` is false.
        """
        ids, cut = self.encode_batch_marked(texts)
        if not truncate and any(cut):
            index = cut.index(True)
            raise self.too_long(index, texts[index])
        return ids

    def too_long(self, index: int, text: str) -> TextTooLongError:
        """The error for a text that is too long, the one at ``index``."""
        return TextTooLongError(
            f"text {index} has {self._length(text)} tokens, and the model takes {self.max_length}; "
            "shorten it, or let it be truncated."
        )

    def is_cut(self, text: str, token_ids: TokenIds) -> bool:
        """Whether ``text``, of which these are the tokens, was truncated."""
        return len(token_ids) == self.max_length and self.encode_batch_marked([text])[1][0]

    def encode_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> TokenizedPairs:
        """Token ids and types of pairs of texts, ``firsts[i]`` with ``seconds[i]``.

        Pairs with too many tokens are truncated as transformers' ``truncation="longest_first"`` does.
        Releases the global interpreter lock.

        Raises:
            InvalidTextError: one of the texts is not a string, or holds a lone surrogate.
            OptionError: ``max_length`` has no room for a pair, or there are more or fewer first texts than
                second ones.
            DependencyMissingError: the package ``tokenizers`` is not installed, and the file needs it.
        """
        if self.max_length < self.pair_special_tokens:
            raise OptionError(
                f"max_length={self.max_length} has no room for the {self.pair_special_tokens} special tokens "
                "of a pair."
            )
        if len(firsts) != len(seconds):
            raise OptionError(f"{len(firsts)} first texts and {len(seconds)} second texts are not pairs.")
        try:
            return TokenizedPairs(*self._for_pairs.encode_pairs(firsts, seconds))
        except (TypeError, UnicodeEncodeError) as error:
            raise _explain([text for pair in zip(firsts, seconds, strict=True) for text in pair]) from error

    def encode_pairs_in_pieces(self, firsts: list[str], seconds: list[str]) -> TokenizedPairs:
        """As :meth:`encode_pairs`, in calls of bounded size, between which signal handlers run."""
        ids: list[TokenIds] = []
        types: list[TokenIds] = []
        cut: list[bool] = []
        for piece in _pieces(firsts, seconds):
            some = self.encode_pairs(firsts[piece], seconds[piece])
            ids += some.ids
            types += some.types
            cut += some.cut
        return TokenizedPairs(ids, types, cut)

    @property
    def pair_special_tokens(self) -> int:
        """Number of special tokens that a pair gets.

        Raises:
            BundleError: the tokenizer does not put the two texts of a pair one after the other.
            DependencyMissingError: as :meth:`encode_pairs`.
        """
        return self._for_pairs.pair_special_tokens

    @cached_property
    def _for_pairs(self) -> NativeTokenizer | PackageTokenizer:
        """The tokenizer of pairs: the package's where the engine cannot make the file's pairs."""
        if isinstance(self._fast, PackageTokenizer) or self._fast.pair_special_tokens >= 0:
            return self._fast
        return self._load_package(self.max_length)

    def encode_in_pieces(self, texts: list[str]) -> list[TokenIds]:
        """As :meth:`encode_batch`, in calls of bounded size, between which signal handlers run."""
        return self.encode_marked_in_pieces(texts)[0]

    def encode_marked_in_pieces(self, texts: list[str]) -> tuple[list[TokenIds], list[bool]]:
        """As :meth:`encode_batch_marked`, in calls of bounded size."""
        token_ids: list[TokenIds] = []
        cut: list[bool] = []
        for piece in _pieces(texts):
            ids, marks = self.encode_batch_marked(texts[piece])
            token_ids += ids
            cut += marks
        return token_ids, cut

    def encode_batch_marked(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """As :meth:`encode_batch`, and for each text whether it was truncated."""
        try:
            return self._fast.encode_batch(texts)
        except (TypeError, UnicodeEncodeError) as error:
            raise _explain(texts) from error

    def _length(self, text: str) -> str:
        """How many tokens a text has that is too long."""
        if len(text) > longest_whole(self.max_length):
            return f"at least {self.max_length + 1}"
        return str(self._fast.count(text))


def _load_native(content: mmap.mmap, max_length: int, threads: int) -> NativeTokenizer | str:
    """The engine's tokenizer, or why it cannot be used."""
    if _import_error is not None:
        return str(_import_error)
    try:
        return NativeTokenizer.parse(content, max_length, threads)
    except ValueError as error:  # the package may know more
        return str(error)


def _load_package(path: Path, content: mmap.mmap, purpose: str, max_length: int) -> PackageTokenizer:
    try:
        return PackageTokenizer.parse(content[:], max_length, purpose)
    except DependencyMissingError:
        raise
    except Exception as error:  # the library raises a bare Exception
        raise _not_a_tokenizer(path, error) from error


def _packaged(tokenizer: PackageTokenizer, reason: str) -> TextTokenizer:
    return TextTokenizer(f"{tokenizer.name}: {reason}", tokenizer, tokenizer.limited)


def _mapped(path: Path) -> mmap.mmap:
    """The content of a file, which stays the same if the file is deleted or replaced.

    Raises:
        BundleError: the file is empty, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise _not_a_tokenizer(path, error) from error


def _not_a_tokenizer(path: Path, error: Exception) -> BundleError:
    return BundleError(f"{path}: not a tokenizer.json ({error}).")


def _explain(texts: Sequence[object]) -> InvalidTextError:
    """Find the text that the tokenizer rejected. It runs after a failure only, to keep the hot path short."""
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            return InvalidTextError(
                f"text {index} is {type(text).__name__}, not str; pass a string or a list of strings."
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return InvalidTextError(
                f"text {index} holds a lone surrogate at character {error.start}; it is not valid Unicode. "
                "Clean it first, e.g. text.encode('utf-8', 'replace').decode()."
            )
    return InvalidTextError("a text could not be tokenized.")


def _pieces(*columns: list[str]) -> Iterator[slice]:
    """Split rows of texts into pieces of bounded size."""
    start = characters = 0
    for stop, row in enumerate(zip(*columns, strict=True), start=1):
        characters += sum(len(text) for text in row if isinstance(text, str))
        if characters >= _PIECE_CHARACTERS or stop - start == _PIECE_TEXTS:
            yield slice(start, stop)
            start, characters = stop, 0
    if start < len(columns[0]):
        yield slice(start, None)
