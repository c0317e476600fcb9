"""``python -m benchmarks.tokenization TOKENIZER.json…``: the engine against the package tokenizers.

Both in one process and one thread, in turns: a query of twelve tokens or so, a corpus in one batch, and
loading the file. Both give arrays, as the runtime takes them, cut at 512 tokens. The seconds are the
processor's, which other processes do not change much.
"""

from __future__ import annotations

import mmap
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from benchmarks.command import make_parser, results_head, write_results
from benchmarks.workloads import corpus, single
from m3e_runtime._native.tokenizer import NativeTokenizer

_MAX_LENGTH = 512
_QUERIES = 200
"""Calls that are timed together: one takes microseconds."""
_ENGLISH_QUERY = "how do i reset the password of my account"
_ENGLISH = """
the of and to in a is that for it was on are as with his they at be this from have or by one had not but
what all were when we there can an your which their said if do will each about how up out them then she
many some so these would other into has more her two like him see time could no make than first been its
who now people my made over did down only way find use may water long little very after words called just
where most know retrieval embedding tokenizer vocabulary international government development company
"""

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    texts: int
    rounds: int


class Package:
    """The package tokenizers."""

    name = "tokenizers"

    def __init__(self, file: Path) -> None:
        self._tokenizer = Tokenizer.from_buffer(file.read_bytes())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_LENGTH)

    def encode(self, text: str) -> Ids:
        return np.array(self._tokenizer.encode(text).ids, dtype=np.int32)

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        return [np.array(found.ids, dtype=np.int32) for found in self._tokenizer.encode_batch_fast(texts)]


class Engine:
    """The engine's tokenizer."""

    name = "engine"

    def __init__(self, file: Path) -> None:
        with file.open("rb") as content:
            mapped = mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_COPY)
        self._tokenizer = NativeTokenizer.parse(mapped, _MAX_LENGTH, 1)

    def encode(self, text: str) -> Ids:
        return self._tokenizer.encode(text)

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        return self._tokenizer.encode_batch(texts)[0]


_CONTESTANTS = (Package, Engine)


def main() -> None:
    """Entry point."""
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")  # read at the first batch
    parser = make_parser("tokenization", __doc__, quick="less of everything: seconds, rougher")
    parser.add_argument("tokenizers", nargs="+", type=Path, metavar="TOKENIZER.json")
    options = parser.parse_args()
    sizes = Sizes(500, 3) if options.quick else Sizes(10_000, 9)
    results = results_head(options, "quick") | {"tokenizers": {}}
    for file in options.tokenizers:
        results["tokenizers"][str(file)] = _measure(file, sizes)
    stem = write_results(results, options.output, "tokenization")
    print(f"{_in_words(results)}\n{stem}.json")


def _measure(file: Path, sizes: Sizes) -> dict[str, Any]:
    made = [make(file) for make in _CONTESTANTS]
    texts = {"Chinese": (single(12), corpus(sizes.texts)), "English": (_ENGLISH_QUERY, _english(sizes.texts))}
    found: dict[str, Any] = {
        "load_seconds": _in_turns([partial(make, file) for make in _CONTESTANTS], sizes.rounds)
    }
    for language, (query, passages) in tqdm(texts.items(), desc=str(file)):
        tokens = made[0].encode_batch(passages)
        found[language] = {
            "query_tokens": len(made[0].encode(query)),
            "corpus_tokens": sum(map(len, tokens)),
            "identical": all(map(np.array_equal, tokens, made[1].encode_batch(passages))),
            "query_seconds": _in_turns(
                [partial(_encode_often, each, query) for each in made], sizes.rounds, _QUERIES
            ),
            "corpus_seconds": _in_turns(
                [partial(each.encode_batch, passages) for each in made], sizes.rounds
            ),
        }
    return found


def _english(texts: int) -> list[str]:
    """Passages with log-normal lengths, of frequent words."""
    chance, words = random.Random(0), _ENGLISH.split()
    lengths = [int(chance.lognormvariate(3.5, 0.75)) + 1 for _ in range(texts)]
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


def _encode_often(contestant: Package | Engine, query: str) -> None:
    for _ in range(_QUERIES):
        contestant.encode(query)


def _in_turns(actions: list[Callable[[], Any]], rounds: int, calls: int = 1) -> dict[str, float]:
    """Median seconds of the processor for a call of each, one after the other in every round."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, times in zip(actions, seconds, strict=True):
            start = time.process_time()
            action()
            times.append((time.process_time() - start) / calls)
    names = [each.name for each in _CONTESTANTS]
    return {name: statistics.median(times) for name, times in zip(names, seconds, strict=True)}


def _in_words(results: dict[str, Any]) -> str:
    lines = []
    for file, found in results["tokenizers"].items():
        lines.append(f"{file}: loaded in {_pair(found['load_seconds'], 1e3, 'ms')}")
        for language in ("Chinese", "English"):
            row = found[language]
            lines += [
                f"  {language}: {row['query_tokens']} tokens {_pair(row['query_seconds'], 1e6, 'µs')}, "
                f"{row['corpus_tokens']} tokens {_pair(row['corpus_seconds'], 1e3, 'ms')}"
                f"{'' if row['identical'] else '; OTHER IDS'}"
            ]
    return "\n".join(lines)


def _pair(seconds: dict[str, float], scale: float, unit: str) -> str:
    package, engine = (seconds[each.name] * scale for each in _CONTESTANTS)
    return f"{package:.1f} → {engine:.1f} {unit} ({package / engine:.1f} ×)"


if __name__ == "__main__":
    main()
