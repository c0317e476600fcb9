"""Compare the engine's token ids with those of the package `tokenizers`.

python scripts/compare_tokenizers.py TOKENIZER.json…

Tokenizes random strings with both, in batches and, one string in a hundred, alone and cut at a random length.
Ends with status 1 if an id differs.
"""

from __future__ import annotations

import argparse
import mmap
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from m3e_runtime._native.tokenizer import NativeTokenizer
from strange_texts import LOOK_ALIKES, RANGES

_BATCH = 5000
_SHOWN = 5
_ONE_ALONE_IN = 100
_LIMIT = 1 << 20
_LAST = 0x110000
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Difference:
    """A text of which the two have different ids."""

    text: str
    most: int
    expected: list[int]
    found: list[int]


class Texts:
    """Random strings, one after the other."""

    def __init__(self, seed: int, vocabulary: list[str]) -> None:
        self._chance = random.Random(seed)
        self._vocabulary = vocabulary
        self._kinds = list(RANGES.values())

    def __iter__(self) -> Iterator[str]:
        while True:
            runs = (self._run() for _ in range(self._chance.randint(1, 8)))
            yield self._chance.choice(("", " ", "  ")).join(runs)

    def _run(self) -> str:
        kind = self._chance.random()
        if kind < 0.1:
            return self._chance.choice(LOOK_ALIKES)
        if kind < 0.3:
            return "".join(self._chance.choices(self._vocabulary, k=self._chance.randint(1, 3)))
        if kind < 0.4:
            return "".join(self._any_character() for _ in range(self._chance.randint(1, 4)))
        ranges = self._chance.choice(self._kinds)
        characters = (self._chance.randrange(*self._chance.choice(ranges)) for _ in range(9))
        return "".join(map(chr, islice(characters, self._chance.randint(1, 9))))

    def _any_character(self) -> str:
        """Any code point that a string in UTF-8 may have."""
        code = self._chance.randrange(_LAST - len(_SURROGATES))
        return chr(code if code < _SURROGATES.start else code + len(_SURROGATES))


class Pair:
    """A tokenizer.json in the engine and in the package."""

    def __init__(self, file: Path) -> None:
        content = file.read_bytes()
        self.reference = Tokenizer.from_buffer(content)
        self.reference.no_padding()
        self.reference.no_truncation()
        mapped = mmap.mmap(-1, len(content))
        mapped.write(content)
        self.native = NativeTokenizer.parse(mapped, _LIMIT, 1)

    def differences(self, texts: list[str], chance: random.Random) -> Iterator[Difference]:
        """Of all texts as a batch, and of some alone."""
        expected = [encoding.ids for encoding in self.reference.encode_batch_fast(texts)]
        found = [ids.tolist() for ids in self.native.encode_batch(texts)[0]]
        for text, a, b in zip(texts, expected, found, strict=True):
            if a != b:
                yield Difference(text, _LIMIT, a, b)
        for text in chance.sample(texts, len(texts) // _ONE_ALONE_IN):
            yield from self._alone(text, chance.randint(self.native.special_tokens, 24))

    def _alone(self, text: str, most: int) -> Iterator[Difference]:
        if most == 0:
            return
        self.reference.enable_truncation(most)
        expected = self.reference.encode(text).ids
        self.reference.no_truncation()
        found = self.native.limited(most).encode(text).tolist()
        if found != expected:
            yield Difference(text, most, expected, found)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizers", nargs="+", type=Path, metavar="TOKENIZER.json")
    parser.add_argument("--strings", type=int, default=1_000_000, help="for each tokenizer (1000000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    different = sum(_compare(file, options.strings, options.seed) for file in options.tokenizers)
    sys.exit(1 if different else 0)


def _compare(file: Path, strings: int, seed: int) -> int:
    """Print how many strings have other ids, and the first of them. Returns the number."""
    pair, chance = Pair(file), random.Random(seed)
    texts = iter(Texts(seed, sorted(pair.reference.get_vocab())))
    different: list[Difference] = []
    with tqdm(total=strings, desc=str(file), unit="") as bar:
        for start in range(0, strings, _BATCH):
            batch = list(islice(texts, min(_BATCH, strings - start)))
            different += pair.differences(batch, chance)
            bar.update(len(batch))
            bar.set_postfix(different=len(different))
    print(f"{file}: {len(different)} of {strings} strings have other ids (seed {seed})")
    for each in different[:_SHOWN]:
        limit = "" if each.most == _LIMIT else f" (at most {each.most})"
        print(f"  {each.text!a}{limit}\n    tokenizers {each.expected}\n    engine     {each.found}")
    return len(different)


if __name__ == "__main__":
    main()
