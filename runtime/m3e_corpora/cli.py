"""``m3e-encode``: encode files of texts to files of vectors, in bounded memory."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from m3e_corpora.executors.base import Executor
from m3e_corpora.executors.local import LocalExecutor
from m3e_corpora.job.output_path import STANDARD_OUTPUT
from m3e_corpora.job.policies import OnError, OverLong
from m3e_corpora.job.request import (
    DEFAULT_FIELD,
    DEFAULT_INDEX,
    FORMATS,
    OTHERS,
    PARTITION_BYTES,
    CorpusRequest,
)
from m3e_corpora.job.summary import Summary
from m3e_corpora.run import encode_corpus
from m3e_runtime import git_lfs
from m3e_runtime.chunking import ChunkOptions
from m3e_runtime.command_line import run
from m3e_runtime.errors import OptionError
from m3e_runtime.json_text import json_text
from m3e_runtime.late_interaction import TASKS
from m3e_runtime.outputs import OUTPUT_PRECISIONS
from m3e_runtime.scores import ACTIVATIONS
from m3e_runtime.standard_output import say

__all__ = ["main"]

_EXAMPLES = """\
examples:
  m3e-encode m3e-base-int8 questions.txt -o questions.npy                one text a line, one row a line
  m3e-encode m3e-base-int8 corpus.jsonl --field body -o corpus.parquet   columns body and embedding
  m3e-encode m3e-base-int8 corpus.jsonl -o corpus-vectors.jsonl          the same objects, embedding added
  m3e-encode m3e-base-int8 dump/ 'more/*.parquet' --keep id --drop-text --precision float16 -o vectors/
  cat questions.txt | m3e-encode m3e-base-int8 -o - --truncate-dim 256 | head -1
  m3e-encode bge-m3 corpus.jsonl --also sparse multi_vector -o corpus.parquet
  m3e-encode m3e-base-int8 corpus.txt -o corpus.npy --precision int8 --ranges ranges.npy
  m3e-encode bge-reranker-int8 pairs.jsonl --field passage -o scored.jsonl         column score added

A file appears only when it is complete. A folder of parts contains a file _SUCCESS when it is complete. With
-o - lines are written as they are computed. If a run stops early, finished partitions are kept; the same
command with --resume continues with the others.

exit codes: 0 ok, 1 the output cannot be written, 2 usage, 4 unreadable input or damaged bundle,
            5 engine or package missing, 130 interrupted, 143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run(_command, _parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-encode",
        description="Encode texts in files of any size. The vectors are in the order of the texts.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle folder")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        default=["-"],
        help="files, folders, patterns or URIs (s3://...) (default: standard input)",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a file that ends in .npy, .parquet, .jsonl or .faiss, a folder of Parquet parts that ends in "
        "/, or - for JSON Lines on standard output",
    )
    _add_input_options(parser)
    _add_vector_options(parser)
    _add_run_options(parser)
    _add_cluster_options(parser)
    return parser


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input")
    group.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the inputs (default: by suffix; text, one per line, if it is unknown)",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of text, CSV and JSON Lines: gb18030 or another superset of ASCII (default: utf-8)",
    )
    group.add_argument(
        "--field",
        metavar="NAME",
        help=f"column of the texts (default: {DEFAULT_FIELD}); doc.body is the field body in doc",
    )
    group.add_argument(
        "--keep",
        nargs="+",
        metavar="NAME",
        help="columns to store beside the vectors, also from folder names (lang=zh/) "
        "(default: none; all for JSON Lines to .jsonl)",
    )
    group.add_argument("--drop-text", action="store_true", help="do not store the texts")
    group.add_argument(
        "--task",
        choices=TASKS,
        help="what the texts are; it selects the prompt, and how a model such as ColBERT encodes them "
        "(default: document for such models)",
    )
    group.add_argument("--prompt-name", metavar="NAME", help="prompt of the checkpoint before each text")
    group.add_argument("--prompt", metavar="TEXT", help="prompt before each text; overrides --prompt-name")
    group.add_argument(
        "--prompt-field", metavar="NAME", help="column of each text's own prompt, instead of both"
    )
    group.add_argument(
        "--query-field",
        metavar="NAME",
        help="for rerankers: column of the queries, with which the texts are scored (default: query); "
        "models of several labels score single texts without it",
    )
    group.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="fail",
        help="rows that cannot be encoded: fail (default), or skip and list them in OUT.rejected.jsonl",
    )
    group.add_argument(
        "--over-long",
        choices=get_args(OverLong),
        default="truncate",
        help="texts with more tokens than the model's limit: truncate (default), skip, fail, or chunk: a row "
        "for each chunk, with columns chunk, start and end",
    )
    group.add_argument(
        "--chunk-tokens", type=int, metavar="N", help="most tokens of a chunk (default: the model's limit)"
    )
    group.add_argument(
        "--chunk-overlap",
        type=int,
        metavar="N",
        help="most tokens that a chunk repeats of the one before it (default: 0)",
    )
    group.add_argument(
        "--chunk-late",
        action="store_true",
        help="late chunking: the model reads many chunks at once, and a chunk's vector is the mean of its "
        "tokens' states (default: --chunk-tokens 256)",
    )


def _add_vector_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vectors")
    group.add_argument(
        "--precision",
        choices=OUTPUT_PRECISIONS,
        default="float32",
        help="type of the stored numbers (default: float32)",
    )
    group.add_argument(
        "--ranges",
        metavar="FILE.npy",
        help="for int8 and uint8: minimum and maximum of each dimension, float32 [2, dimension]",
    )
    group.add_argument(
        "--activation",
        choices=tuple(ACTIVATIONS),
        help="for rerankers and classifiers: what makes scores of the logits (default: the checkpoint's)",
    )
    group.add_argument("--normalize", action="store_true", help="scale each vector to unit length")
    group.add_argument("--truncate-dim", type=int, metavar="N", help="keep only the first N dimensions")
    group.add_argument(
        "--also",
        nargs="+",
        choices=OTHERS,
        default=[],
        metavar="OUTPUT",
        help="outputs to store beside the vectors, of models such as bge-m3: sparse, multi_vector "
        "(default: none; all for models without vectors of texts)",
    )
    group.add_argument(
        "--index",
        default=DEFAULT_INDEX,
        metavar="FACTORY",
        help="for .faiss: a description for FAISS's index_factory, such as HNSW32 or IVF4096,PQ64 "
        f"(default: {DEFAULT_INDEX})",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--artifact", metavar="NAME", help="artifact to run (default: the fastest)")
    group.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1 or tensorrt (default: auto, the fastest available)",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="largest number of texts in a batch")
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads of the engine, or of each Ray actor (default: all)"
    )
    group.add_argument(
        "--partition-size",
        type=_bytes,
        default=PARTITION_BYTES,
        metavar="SIZE",
        help="text in a partition, for example 64M; finished partitions survive a stop (default: 8M)",
    )
    group.add_argument("--resume", action="store_true", help="continue an unfinished job, if there is one")
    group.add_argument(
        "--force", action="store_true", help="replace an existing output, discard an unfinished job"
    )
    group.add_argument(
        "--json", action="store_true", help="print the summary as JSON (to standard error with -o -)"
    )
    group.add_argument("--no-progress", action="store_true", help="show no progress bar")


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "many machines", "All machines need the same paths for inputs and output."
    )
    group.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="what computes the partitions: this process (default), or a Ray cluster",
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="address of a Ray cluster (default: RAY_ADDRESS, or a new cluster on this machine)",
    )
    group.add_argument(
        "--actors", type=int, metavar="N", help="number of Ray actors (default: as many as fit)"
    )
    group.add_argument(
        "--bundle-everywhere",
        action="store_true",
        help="BUNDLE exists on all machines (default: it is transferred to them)",
    )


def _bytes(size: str) -> int:
    units = {"k": 10, "m": 20, "g": 30}
    shift = units.get(size[-1:].lower())
    try:
        number = float(size if shift is None else size[:-1])
        return int(number * (1 << (shift or 0)))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{size!r} is no size; write bytes, or 64M, 512k, 1G.") from error


def _command(options: argparse.Namespace) -> int:
    summary = encode_corpus(
        CorpusRequest(
            bundle=options.bundle,
            inputs=tuple(options.inputs),
            output=options.output,
            format=options.format,
            encoding=options.encoding,
            field=options.field,
            keep=None if options.keep is None else tuple(options.keep),
            drop_text=options.drop_text,
            on_error=options.on_error,
            over_long=options.over_long,
            chunking=_chunking(options),
            precision=options.precision,
            ranges=_load_ranges(options.ranges),
            normalize=options.normalize,
            truncate_dim=options.truncate_dim,
            also=tuple(options.also),
            task=options.task,
            prompt_name=options.prompt_name,
            prompt=options.prompt,
            prompt_field=options.prompt_field,
            query_field=options.query_field,
            activation=options.activation,
            artifact=options.artifact,
            device=options.device,
            threads=options.threads,
            batch_size=options.batch_size,
            index=options.index,
            partition_bytes=options.partition_size,
            resume=options.resume,
            force=options.force,
            show_progress=False if options.no_progress else None,
        ),
        _executor(options),
    )
    _report(summary, options.json)
    return 0


def _chunking(options: argparse.Namespace) -> ChunkOptions | None:
    if options.chunk_tokens is None and options.chunk_overlap is None and not options.chunk_late:
        return None
    return ChunkOptions(options.chunk_tokens, options.chunk_overlap or 0, options.chunk_late)


def _executor(options: argparse.Namespace) -> Callable[[CorpusRequest], Executor]:
    given = {
        "address": options.ray_address,
        "actors": options.actors,
        "bundle_everywhere": options.bundle_everywhere or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if options.executor == "ray":
        from m3e_corpora.executors.ray import RayExecutor

        return functools.partial(RayExecutor, **given)
    if given:
        raise OptionError("--ray-address, --actors and --bundle-everywhere need --executor ray.")
    return LocalExecutor


def _load_ranges(file: str | None) -> npt.NDArray[np.float32] | None:
    if file is None:
        return None
    if git_lfs.is_pointer(Path(file)):
        raise OptionError(f"--ranges {file}: {git_lfs.HINT}.")
    try:
        with Path(file).open("rb") as stream:
            ranges: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"--ranges {file}: not a readable .npy file ({error}).") from error
    if ranges.dtype.kind != "f" or not np.isfinite(ranges).all():
        raise OptionError(f"--ranges {file}: the values must be finite float32 numbers.")
    return ranges.astype(np.float32)


def _report(summary: Summary, as_json: bool) -> None:
    to_stdout = summary.output != STANDARD_OUTPUT
    if as_json:
        if to_stdout:
            say(json_text(asdict(summary)))
        else:
            print(json_text(asdict(summary)), file=sys.stderr)
    elif to_stdout:
        say(_in_words(summary))


def _in_words(summary: Summary) -> str:
    counted = {
        "duplicates": summary.duplicates,
        "truncated": summary.truncated,
        "divided": summary.divided,
        "skipped": summary.skipped,
    }
    remarks = "".join(f", {count} {name}" for name, count in counted.items() if count)
    shape = "outputs of tokens" if summary.dimension is None else f"{summary.dimension} x {summary.dtype}"
    return (
        f"{summary.output}: {summary.texts} texts{remarks}, {shape}, "
        f"{summary.seconds:.1f} s ({summary.texts_per_second:.0f} texts/s, "
        f"{summary.tokens_per_second:.0f} tokens/s)"
    )


if __name__ == "__main__":
    sys.exit(main())
