"""``m3e-encode``: files of texts to files of vectors, in bounded memory."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from m3e_corpora import CorpusRequest, Summary, encode_corpus
from m3e_corpora.executors.local import Engine, LocalEngine
from m3e_corpora.faiss_package import DEFAULT_INDEX
from m3e_corpora.inputs.columns import DEFAULT_FIELD
from m3e_corpora.inputs.find import FORMATS
from m3e_corpora.job.output_path import STANDARD_OUTPUT
from m3e_corpora.job.policies import OnError, OverLong
from m3e_corpora.job.request import PARTITION_BYTES
from m3e_runtime import git_lfs
from m3e_runtime.command_line import run
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import OUTPUT_PRECISIONS
from m3e_runtime.standard_output import say

__all__ = ["main"]

_EXAMPLES = """\
examples:
  m3e-encode m3e-base-int8 questions.txt -o questions.npy                one text a line, one row a line
  m3e-encode m3e-base-int8 corpus.jsonl --field body -o corpus.parquet   columns body and embedding
  m3e-encode m3e-base-int8 corpus.jsonl -o corpus-vectors.jsonl          the same objects, embedding added
  m3e-encode m3e-base-int8 dump/ 'more/*.parquet' --keep id --drop-text --precision float16 -o vectors/
  cat questions.txt | m3e-encode m3e-base-int8 -o - --truncate-dim 256 | head -1
  m3e-encode m3e-base-int8 corpus.txt -o corpus.npy --precision int8 --ranges ranges.npy

A file appears complete or not at all; a folder of parts has a file _SUCCESS when it is complete; only -o -
writes as it goes. Partitions that a stopped run has finished are kept; the same command with --resume goes
on with the others.

exit codes: 0 ok, 1 the output cannot be written, 2 usage, 4 unreadable input or damaged bundle,
            5 engine or pyarrow missing, 130 interrupted,
            143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run(_command, _parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-encode",
        description="Encode files of texts of any size; vectors in the order of the texts.",
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
        help="file that ends in .npy, .parquet, .jsonl or .faiss, folder (of Parquet parts) that ends in /, "
        "or - for JSON Lines on standard output",
    )
    _add_input_options(parser)
    _add_vector_options(parser)
    _add_run_options(parser)
    _add_cluster_options(parser)
    return parser


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input")
    group.add_argument(
        "--format", choices=FORMATS, help="default: by suffix; text, one a line, where that tells nothing"
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="of text, CSV and JSON Lines: gb18030 or another superset of ASCII (default: utf-8)",
    )
    group.add_argument(
        "--field",
        metavar="NAME",
        help=f"column of the texts (default: {DEFAULT_FIELD}); doc.body is body inside of doc",
    )
    group.add_argument(
        "--keep",
        nargs="+",
        metavar="NAME",
        help="columns to store beside the vectors, those that only folders name (lang=zh/) too "
        "(default: none, but .jsonl to .jsonl keeps all)",
    )
    group.add_argument("--drop-text", action="store_true", help="do not store the texts")
    group.add_argument(
        "--prompt-name", metavar="NAME", help="a prompt of the checkpoint, put before each text"
    )
    group.add_argument("--prompt", metavar="TEXT", help="a prompt given directly; wins over --prompt-name")
    group.add_argument(
        "--prompt-field", metavar="NAME", help="column of each text's own prompt, in place of both"
    )
    group.add_argument(
        "--on-error",
        choices=get_args(OnError),
        default="fail",
        help="rows without a text: fail (default), or skip and list them in OUT.rejected.jsonl",
    )
    group.add_argument(
        "--over-long",
        choices=get_args(OverLong),
        default="truncate",
        help="texts of more tokens than the model takes: truncate and count (default), skip, fail",
    )


def _add_vector_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vectors")
    group.add_argument("--precision", choices=OUTPUT_PRECISIONS, default="float32", help="default: float32")
    group.add_argument(
        "--ranges",
        metavar="FILE.npy",
        help="for int8 and uint8: minimum and maximum of each dimension, float32 [2, dimension]",
    )
    group.add_argument("--normalize", action="store_true", help="scale each vector to unit length")
    group.add_argument("--truncate-dim", type=int, metavar="N", help="keep only the first N dimensions")
    group.add_argument(
        "--index",
        default=DEFAULT_INDEX,
        metavar="FACTORY",
        help="for .faiss, in the words of FAISS's index_factory: HNSW32, IVF4096,PQ64, … (default: Flat)",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--artifact", metavar="NAME", help="artifact to run (default: the fastest)")
    group.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1 or tensorrt (default: auto, the best there is)",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="most texts in one run of the engine")
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads of the engine, or of an actor (default: all)"
    )
    group.add_argument(
        "--partition-size",
        type=_bytes,
        default=PARTITION_BYTES,
        metavar="SIZE",
        help="text that is done as one, e.g. 64M: what a stop loses at most (default: 8M)",
    )
    group.add_argument("--resume", action="store_true", help="go on with what was begun, if anything was")
    group.add_argument("--force", action="store_true", help="replace an existing output, begin anew")
    group.add_argument(
        "--json", action="store_true", help="print a summary as JSON (to standard error with -o -)"
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many machines, which need the same paths for inputs and output")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this process (default), or actors of Ray"
    )
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a cluster (default: RAY_ADDRESS, or none)"
    )
    group.add_argument("--actors", type=int, metavar="N", help="default: as many as there is room for")
    group.add_argument(
        "--bundle-everywhere",
        action="store_true",
        help="BUNDLE is there on all machines (default: it is sent to them)",
    )


def _bytes(size: str) -> int:
    units = {"k": 10, "m": 20, "g": 30}
    shift = units.get(size[-1:].lower())
    number = float(size if shift is None else size[:-1])
    return int(number * (1 << (shift or 0)))


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
            precision=options.precision,
            ranges=_load_ranges(options.ranges),
            normalize=options.normalize,
            truncate_dim=options.truncate_dim,
            prompt_name=options.prompt_name,
            prompt=options.prompt,
            prompt_field=options.prompt_field,
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
        _engine(options),
    )
    _report(summary, options.json)
    return 0


def _engine(options: argparse.Namespace) -> Callable[[CorpusRequest], Engine]:
    given = {
        "address": options.ray_address,
        "actors": options.actors,
        "bundle_everywhere": options.bundle_everywhere or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if options.engine == "ray":
        from m3e_corpora.executors.ray import RayEngine

        return functools.partial(RayEngine, **given)
    if given:
        raise OptionError("--ray-address, --actors and --bundle-everywhere are for --engine ray.")
    return LocalEngine


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
        raise OptionError(f"--ranges {file}: finite float32 values are needed.")
    return ranges.astype(np.float32)


def _report(summary: Summary, as_json: bool) -> None:
    to_stdout = summary.output != STANDARD_OUTPUT
    if as_json:
        if to_stdout:
            say(json.dumps(asdict(summary)))
        else:
            print(json.dumps(asdict(summary)), file=sys.stderr)
    elif to_stdout:
        say(_in_words(summary))


def _in_words(summary: Summary) -> str:
    counted = {
        "duplicates": summary.duplicates,
        "truncated": summary.truncated,
        "skipped": summary.skipped,
    }
    remarks = "".join(f", {count} {name}" for name, count in counted.items() if count)
    return (
        f"{summary.output}: {summary.texts} texts{remarks}, {summary.dimension} x {summary.dtype}, "
        f"{summary.seconds:.1f} s ({summary.texts_per_second:.0f} texts/s, "
        f"{summary.tokens_per_second:.0f} tokens/s)"
    )


if __name__ == "__main__":
    sys.exit(main())
