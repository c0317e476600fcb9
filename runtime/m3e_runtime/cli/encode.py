"""``m3e-encode``: a file of texts to a file of vectors, in bounded memory."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from m3e_runtime.cli.common import run
from m3e_runtime.cli.readers import DEFAULT_FIELD, INPUT_FORMATS, input_format, open_input, read_rows
from m3e_runtime.cli.writers import STANDARD_OUTPUT, VectorType, check_output, make_writer, open_output
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import OUTPUT_PRECISIONS
from m3e_runtime.progress import progress_bar

__all__ = ["main"]

_RANGED = ("int8", "uint8")
_EXAMPLES = """\
examples:
  m3e-encode m3e-base-int8 questions.txt -o questions.npy                one text a line, one row a line
  m3e-encode m3e-base-int8 corpus.jsonl --field body -o corpus.parquet   columns text and embedding
  m3e-encode m3e-base-int8 corpus.jsonl -o corpus-vectors.jsonl          the same objects, embedding added
  cat questions.txt | m3e-encode m3e-base-int8 -o - --truncate-dim 256 | head -1
  m3e-encode m3e-base-int8 corpus.txt -o corpus.npy --precision int8 --ranges ranges.npy

A file appears complete or not at all; only -o - writes as it goes.

exit codes: 0 ok, 1 the output cannot be written, 2 usage, 4 unreadable input or damaged bundle,
            5 engine or pyarrow missing, 130 interrupted
"""


@dataclass(frozen=True)
class _Summary:
    """What was done; ``dimension`` is the length of a stored vector, an eighth for binary ones."""

    texts: int
    dimension: int
    dtype: str
    seconds: float
    texts_per_second: float
    output: str


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run(_command, _parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-encode",
        description="Encode a file of texts of any size; vectors in the order of the texts.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle folder")
    parser.add_argument(
        "input", metavar="FILE", nargs="?", default="-", help="input, UTF-8 (default: standard input)"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="file that ends in .npy, .parquet or .jsonl, or - for JSON Lines on standard output",
    )
    _add_input_options(parser)
    _add_vector_options(parser)
    _add_run_options(parser)
    return parser


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input")
    group.add_argument(
        "--format", choices=INPUT_FORMATS, help="default: jsonl for .jsonl and .ndjson, else text, one a line"
    )
    group.add_argument(
        "--field", metavar="NAME", help=f"where the text is in an object (default: {DEFAULT_FIELD})"
    )
    group.add_argument(
        "--prompt-name", metavar="NAME", help="a prompt of the checkpoint, put before each text"
    )
    group.add_argument("--prompt", metavar="TEXT", help="a prompt given directly; wins over --prompt-name")
    group.add_argument(
        "--prompt-field",
        metavar="NAME",
        help="where each text's own prompt is in its object, in place of both",
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


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument("--artifact", metavar="NAME", help="artifact to run (default: the fastest)")
    group.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1 or tensorrt (default: auto, the best there is)",
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="most texts in one run of the engine")
    group.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: all)")
    group.add_argument("--force", action="store_true", help="replace an existing output")
    group.add_argument(
        "--json", action="store_true", help="print a summary as JSON (to standard error with -o -)"
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def _command(options: argparse.Namespace) -> int:
    # Everything that can be wrong with the options is looked at before the bundle is loaded.
    check_output(options.output, options.force)
    for name, given in (("--field", options.field), ("--prompt-field", options.prompt_field)):
        if given is not None and input_format(options.input, options.format) == "text":
            raise OptionError(f"{name} is for JSON Lines, and the input is read as text; add --format jsonl.")
    if options.prompt_field is not None and (options.prompt, options.prompt_name) != (None, None):
        raise OptionError("--prompt-field gives each text a prompt; leave out --prompt and --prompt-name.")
    ranges = _load_ranges(options.precision, options.ranges)
    with open_input(options.input) as stream:
        loaded = Encoder.load(
            options.bundle, device=options.device, artifact=options.artifact, threads=options.threads
        )
        with closing(loaded) as encoder:
            summary = _encode(encoder, stream, ranges, options)
    _report(summary, options.json)
    return 0


def _load_ranges(precision: str, file: str | None) -> npt.NDArray[np.float32] | None:
    if precision not in _RANGED:
        if file is not None:
            raise OptionError(f"--ranges is for {' and '.join(_RANGED)}, not for --precision {precision}.")
        return None
    if file is None:
        raise OptionError(
            f"--precision {precision} needs --ranges FILE.npy, float32 [2, dimension]: the minimum and the "
            "maximum of each dimension, e.g. of the float32 vectors of a sample."
        )
    try:
        with Path(file).open("rb") as stream:
            ranges: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"--ranges {file}: not a readable .npy file ({error}).") from error
    if ranges.dtype.kind != "f" or not np.isfinite(ranges).all():
        raise OptionError(f"--ranges {file}: finite float32 values are needed.")
    return ranges.astype(np.float32)


def _encode(
    encoder: Encoder,
    stream: BinaryIO,
    ranges: npt.NDArray[np.float32] | None,
    options: argparse.Namespace,
) -> _Summary:
    settings: dict[str, Any] = {
        "prompt_name": options.prompt_name,
        "prompt": options.prompt if options.prompt_field is None else (),
        "batch_size": options.batch_size,
        "precision": options.precision,
        "normalize_embeddings": options.normalize,
        "truncate_dim": options.truncate_dim,
        "ranges": ranges,
    }
    # No text at all checks the settings and tells the type of the vectors, even if no text will follow.
    none = encoder.encode([], show_progress_bar=False, **settings)
    vectors = VectorType(none.shape[1], none.dtype)
    start = time.perf_counter()
    texts = _stream(encoder, stream, vectors, settings, options)
    seconds = time.perf_counter() - start
    rate = texts / seconds if texts else 0.0
    return _Summary(
        texts, vectors.length, str(vectors.dtype), round(seconds, 3), round(rate, 1), options.output
    )


def _stream(
    encoder: Encoder,
    stream: BinaryIO,
    vectors: VectorType,
    settings: dict[str, Any],
    options: argparse.Namespace,
) -> int:
    """Encode ``stream`` to the output; returns the number of texts."""
    file_format = input_format(options.input, options.format)
    field = options.field or DEFAULT_FIELD
    rows = read_rows(stream, options.input, file_format, field, options.prompt_field)
    rows, ahead = itertools.tee(rows)  # holds the rows of one window, until their vectors come
    if options.prompt_field is not None:
        ahead, prompted = itertools.tee(ahead)
        settings = {**settings, "prompt": (row.prompt for row in prompted)}
    encoded = encoder.encode_iter((row.text for row in ahead), **settings)
    texts = 0
    with (
        open_output(options.output) as output,
        make_writer(options.output, output, vectors, _provenance(encoder, options.precision)) as writer,
        progress_bar(None, "text", "Encoding", False if options.no_progress else None) as bar,
    ):
        for row, vector in zip(rows, encoded, strict=True):
            writer.write(row, vector)
            texts += 1
            bar.update()
    return texts


def _provenance(encoder: Encoder, precision: str) -> dict[str, str]:
    source = encoder.bundle.manifest.source
    return {
        "source": source.id,
        "weights_sha256": source.weights_sha256,
        "artifact": encoder.artifact.name,
        "precision": precision,
    }


def _report(summary: _Summary, as_json: bool) -> None:
    to_stdout = summary.output != STANDARD_OUTPUT
    if as_json:
        print(json.dumps(asdict(summary)), file=sys.stdout if to_stdout else sys.stderr)
    elif to_stdout:
        print(
            f"{summary.output}: {summary.texts} texts, {summary.dimension} x {summary.dtype}, "
            f"{summary.seconds:.1f} s ({summary.texts_per_second:.0f} texts/s)"
        )


if __name__ == "__main__":
    sys.exit(main())
