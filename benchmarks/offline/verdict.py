"""``python -m benchmarks.offline.verdict FOLDER...``: each claim about GPUs, and whether it holds.

The exit code is 1 if a claim is broken. A rehearsal proves and breaks nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.offline.claims import CLAIMS, Claim, Finding
from benchmarks.offline.evidence import Evidence, gather

__all__ = ["judge"]

_WORDS = {
    "claim": {True: "proved", False: "BROKEN", None: "not measured"},
    "aim": {True: "reached", False: "not reached", None: "not measured"},
    "question": {True: "answer", False: "answer", None: "answer"},
}
_REHEARSAL = "REHEARSAL: no figure below means anything."


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline.verdict", description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, help="where the steps wrote to; the later ones count more"
    )
    parser.add_argument("--output", type=Path, help="file for the same words")
    options = parser.parse_args()
    words, code = judge(gather(options.folders))
    print(words)
    if options.output:
        options.output.write_text(words + "\n", encoding="utf-8")
    sys.exit(code)


def judge(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> tuple[str, int]:
    """A line for each claim, and the exit code."""
    findings = [(claim, claim.judge(evidence)) for claim in claims]
    lines = [_REHEARSAL] if evidence.rehearsal else []
    lines += [_line(claim, finding, evidence.rehearsal) for claim, finding in findings]
    broken = [claim for claim, finding in findings if claim.kind == "claim" and finding.holds is False]
    lines.append(f"from {', '.join(evidence.sources) or 'nothing: no step has left results there'}")
    return "\n".join(lines), int(bool(broken) and not evidence.rehearsal)


def _line(claim: Claim, finding: Finding, rehearsal: bool) -> str:
    word = "rehearsed" if rehearsal and finding.holds is not None else _WORDS[claim.kind][finding.holds]
    return f"{word:<13} {claim.words}: {finding.figure}"


if __name__ == "__main__":
    main()
