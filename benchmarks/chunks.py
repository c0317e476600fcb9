"""Corpora of long texts in chunks, beside the same chunks as texts of their own.

Both jobs compute the same vectors. What chunking costs is the difference in tokens per second: finding the
ends of sentences, counting tokens, and tokenizing the chunks. The jobs run alternately in one process, each
with files of its own.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import make_parser, results_head, write_results
from m3e_corpora import CorpusRequest, encode_corpus
from m3e_export.texts import built_in
from m3e_runtime import ChunkOptions

_TOKENS_OF_A_TEXT = 3000


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = make_parser("chunks", __doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument("--texts", type=int, default=40, help="long texts (default: 40)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each job (default: 5)")
    parser.add_argument("--chunk-tokens", type=int, help="length of chunks (default: the model's limit)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = _measure(options, Path(folder))
    write_results(results_head(options, "runs") | result, options.output, "chunks", options.bundle.name)
    print(f"chunked / plain: {result['chunked_by_plain']}, tokens per second: {result['medians']}")
    return 0


def long_texts(count: int) -> list[str]:
    """Texts of some thousand tokens, of Chinese and English sentences in random order."""
    chance = random.Random(count)
    sentences = [text for text in built_in("gate") if 5 < len(text) < 200]
    return ["\n".join(chance.choices(sentences, k=_TOKENS_OF_A_TEXT // 20)) for _ in range(count)]


def _measure(options: Any, folder: Path) -> dict[str, Any]:
    source, chunks = folder / "texts.jsonl", folder / "chunks.jsonl"
    _write(source, long_texts(options.texts))
    chunking = ChunkOptions(options.chunk_tokens)

    def chunked(output: str) -> Any:
        return _encode(options, source, folder / output, over_long="chunk", chunking=chunking)

    first = chunked("first.jsonl")
    lines = (folder / "first.jsonl").read_text(encoding="utf-8").splitlines()
    _write(chunks, [json.loads(line)["text"] for line in lines])
    speeds: dict[str, list[float]] = {"plain": [], "chunked": []}
    for run in range(options.runs):
        plain = _encode(options, chunks, folder / f"plain-{run}.parquet")
        speeds["plain"].append(plain.tokens_per_second)
        speeds["chunked"].append(chunked(f"chunked-{run}.parquet").tokens_per_second)
        assert plain.texts == first.texts, "both compute the same"
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return {
        "bundle": options.bundle.name,
        "texts": options.texts,
        "chunks": first.texts,
        "tokens_per_second": speeds,
        "medians": medians,
        "chunked_by_plain": round(medians["chunked"] / medians["plain"], 4),
    }


def _write(file: Path, texts: Sequence[str]) -> None:
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _encode(options: Any, source: Path, output: Path, **more: Any) -> Any:
    request = CorpusRequest(
        str(options.bundle), (str(source),), str(output), show_progress=False, device="cpu", **more
    )
    return encode_corpus(request)


if __name__ == "__main__":
    sys.exit(main())
