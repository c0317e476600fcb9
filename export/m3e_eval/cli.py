"""``m3e-eval``: what a precision costs, in the scores of mteb's tasks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from m3e_eval.errors import DataError
from m3e_eval.evaluate import EvaluationRequest, evaluate
from m3e_eval.golden import failed
from m3e_eval.page import evaluation_page
from m3e_eval.report import as_json, as_text, write_files
from m3e_export.errors import OptionError
from m3e_export.folders import check_writable
from m3e_export.hubs.option import add_hub_option
from m3e_export.report.file import check_report, write_report
from m3e_runtime.command_line import run
from m3e_runtime.file_names import shown
from m3e_runtime.standard_output import say

__all__ = ["main"]

_BELOW_GOLDEN = 3
_EXAMPLES = """\
examples:
  m3e-eval m3e-base-int8 --reference moka-ai/m3e-base --suite m3e -o scores    the table of M3E's authors
  m3e-eval m3e-base-int8 --reference ./m3e-base --suite c-mteb --tasks LCQMC T2Retrieval
  m3e-eval my-bundle --reference ./my-finetune --suite pairs.jsonl search.tsv  files of your own
  m3e-eval m3e-base-int8 --suite m3e --data ./sets                             without the hub
  m3e-eval text2vec-int8 --golden                                              only the author's examples
  m3e-eval my-bundle --reference ./my-finetune --suite pairs.jsonl --report scores.html    a page to look at

files (.jsonl, .csv, .tsv; UTF-8), recognized by their columns:
  text1, text2, score          do the cosines rank pairs as the scores do? Spearman's correlation
  text1, text2, label          label 0 or 1: do pairs that belong together have higher cosines? (AP)
  query, passage, relevance    relevance 0, 1, 2, ...: are the relevant passages found? nDCG@10
  text, label, split           split train and test: can the labels be told from the vectors? accuracy

--data DIR holds TNews, JDIphone, GubaEastmony, TYQSentiment, StockComSentiment and IFlyTek (.jsonl, .csv or
.tsv; text, label, split), and T2Ranking's collection.tsv, queries.dev.tsv, qrels.dev.tsv.

exit codes: 0 ok, 1 the scores cannot be written, 2 usage, 3 a golden check failed, 4 unreadable file,
            bundle or checkpoint, or no data to be had, 5 a package or an engine is missing, 130 interrupted,
            143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
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
        say(json.dumps({**as_json(found), **report}, ensure_ascii=False))
    else:
        say(as_text(found))
    # Written last: what has been found is not lost where that fails.
    for file in write_files(found, options.output) if options.output else []:
        print(f"m3e-eval: wrote {file}", file=sys.stderr)
    if options.report is not None:
        write_report(options.report, evaluation_page(found))
        print(f"m3e-eval: wrote {options.report}", file=sys.stderr)
    if failed(found.checks):
        return _BELOW_GOLDEN
    return DataError.exit_code if options.suite and not found.rows else 0


def _check(options: argparse.Namespace) -> None:
    """What can be wrong with the options, before hours of evaluation."""
    if not options.suite and not options.golden:
        raise OptionError("nothing to do: give --suite m3e, c-mteb or files, or --golden.")
    if options.threads is not None and options.threads < 1:
        raise OptionError(f"--threads {options.threads}: at least one thread is needed.")
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        raise OptionError(f"-o {options.output}: a file; give a folder.")
    if options.output is not None:
        check_writable(options.output, f"-o {options.output}")
    if options.report is not None:
        check_report(options.report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m3e-eval",
        description="Score the artifacts of a bundle and the PyTorch original in mteb, and show what each "
        "precision costs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="bundle folder")
    add("--reference", metavar="CHECKPOINT", help="the original to compare with, a folder or hub id")
    add_hub_option(parser)
    add("--suite", nargs="+", default=[], metavar="m3e|c-mteb|FILE", help="what to evaluate on")
    add("--tasks", nargs="+", default=[], metavar="TASK", help="only these tasks of the suites")
    add("--data", type=Path, metavar="DIR", help="the data sets of --suite m3e in local files")
    add("--artifact", nargs="+", default=[], metavar="NAME", help="default: all that can run here")
    add(
        "--golden",
        action="store_true",
        help="check what the checkpoint's authors publish, where it is theirs",
    )
    add("--threads", type=int, metavar="N", help="threads of each engine (default: all)")
    add("-o", "--output", type=Path, metavar="DIR", help="write scores.json, scores.md and scores.png there")
    add(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write a page to look at, also where golden checks fail: scores, differences, checks",
    )
    add("--json", action="store_true", help="print the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
