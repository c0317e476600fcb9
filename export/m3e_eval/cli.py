"""The command ``m3e-eval``: the scores of a bundle beside those of its original."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from m3e_eval.errors import DataError
from m3e_eval.evaluate import evaluate
from m3e_eval.golden import failed
from m3e_eval.page import evaluation_page
from m3e_eval.report import as_json, as_text, write_files
from m3e_eval.request import EvaluationRequest
from m3e_export.errors import OptionError
from m3e_export.folders import check_writable
from m3e_export.hubs.option import add_hub_option
from m3e_export.report.file import check_report, write_report
from m3e_runtime.command_line import run
from m3e_runtime.file_names import shown
from m3e_runtime.json_text import json_text
from m3e_runtime.standard_output import say

__all__ = ["main"]

_BELOW_GOLDEN = 3
_EXAMPLES = """\
examples:
  m3e-eval m3e-base-int8 --reference moka-ai/m3e-base --suite m3e -o scores    the tasks of the M3E authors
  m3e-eval m3e-base-int8 --reference ./m3e-base --suite c-mteb --tasks LCQMC T2Retrieval
  m3e-eval my-bundle --reference ./my-finetune --suite pairs.jsonl search.tsv  your own files
  m3e-eval m3e-base-int8 --suite m3e --data ./sets                             local data sets
  m3e-eval my-bundle --reference ./my-finetune --suite code                    questions to code
  m3e-eval text2vec-int8 --golden                                              the author's examples only
  m3e-eval my-bundle --reference ./my-finetune --suite pairs.jsonl --report scores.html    write a report
  report

files (.jsonl, .csv or .tsv, in UTF-8) are recognized by their columns; a reranker takes the third kind, and
ranks the passages of each query: nDCG@10, MRR@10, MAP:
  text1, text2, score          similarity: Spearman's correlation of cosines and scores
  text1, text2, label          pairs, label 0 or 1: average precision of the cosines
  query, passage, relevance    retrieval, relevance 0, 1, 2, ...: nDCG@10
  text, label, split           classification, split train and test: accuracy

--data DIR holds TNews, JDIphone, GubaEastmony, TYQSentiment, StockComSentiment and IFlyTek (.jsonl, .csv or
.tsv; text, label, split), and T2Ranking's collection.tsv, queries.dev.tsv, qrels.dev.tsv.

exit codes: 0 success, 1 the scores cannot be written, 2 wrong usage, 3 a golden check failed, 4 a file,
            bundle or checkpoint is unreadable or no data is available, 5 a package or an engine is missing,
            130 interrupted, 143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return run(_command, _parser(), argv)


def _command(options: argparse.Namespace) -> int:
    _check(options)
    found = evaluate(
        EvaluationRequest(
            bundle=options.bundle,
            reference=options.reference,
            hub=options.hub,
            suites=tuple(options.suite),
            data=options.data,
            tasks=tuple(options.tasks),
            artifacts=tuple(options.artifact),
            golden=options.golden,
            threads=options.threads,
        )
    )
    if options.json:
        report = {} if options.report is None else {"report": shown(options.report)}
        say(json_text({**as_json(found), **report}, ascii_only=False))
    else:
        say(as_text(found))
    # The files come last: if writing fails, the scores are on the screen.
    for file in write_files(found, options.output) if options.output else []:
        print(f"m3e-eval: wrote {file}", file=sys.stderr)
    if options.report is not None:
        write_report(options.report, evaluation_page(found))
        print(f"m3e-eval: wrote {options.report}", file=sys.stderr)
    if failed(found.checks):
        return _BELOW_GOLDEN
    return DataError.exit_code if options.suite and not found.rows else 0


def _check(options: argparse.Namespace) -> None:
    """Check the options before hours of evaluation."""
    if not options.suite and not options.golden:
        raise OptionError("nothing to do: give --suite with m3e, c-mteb, code or files, or give --golden.")
    if options.threads is not None and options.threads < 1:
        raise OptionError(f"--threads {options.threads}: give at least 1.")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise OptionError(f"-o {options.output}: this is a file; give a folder.")
    if options.output is not None:
        check_writable(options.output, f"-o {options.output}")
    if options.report is not None:
        check_report(options.report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-eval",
        description="Score the artifacts of a bundle and the PyTorch original on tasks of mteb, and print "
        "the difference.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    add("--reference", metavar="CHECKPOINT", help="the original to compare with: a local folder or a hub id")
    add_hub_option(parser)
    add(
        "--suite",
        nargs="+",
        default=[],
        metavar="m3e|c-mteb|code|FILE",
        help="the tasks of the M3E authors, C-MTEB, questions to code, or your own files",
    )
    add("--tasks", nargs="+", default=[], metavar="TASK", help="run only these tasks")
    add("--data", type=Path, metavar="DIR", help="read the data sets of --suite m3e from this folder")
    add(
        "--artifact",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the artifacts to score (default: all that can run on this machine)",
    )
    add(
        "--golden",
        action="store_true",
        help="compare with the figures that the checkpoint's authors publish",
    )
    add("--threads", type=int, metavar="N", help="threads per engine (default: all)")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write scores.json, scores.md and scores.png to this folder",
    )
    add(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write an HTML report of scores, differences and checks; it is also written when a check fails",
    )
    add("--json", action="store_true", help="print the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
