"""``m3e-check``: verify the files of a bundle and the vectors of its artifacts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from m3e_runtime.backends.choice import why_not_here
from m3e_runtime.bundle import Bundle
from m3e_runtime.command_line import run
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.file_names import shown
from m3e_runtime.json_text import json_text
from m3e_runtime.manifest import Artifact, FileEntry
from m3e_runtime.outputs import normalize
from m3e_runtime.progress import progress_bar
from m3e_runtime.reranker import Reranker
from m3e_runtime.standard_output import say
from m3e_runtime.token_check import check_token_outputs, check_tokens_alone

__all__ = ["check_artifact", "check_scores", "main"]

_BELOW_GATE = 3
_EXAMPLES = """\
examples:
  m3e-check m3e-base-int8
  m3e-check m3e-base-int8 --json | jq .artifacts
  m3e-check m3e-base-int8 --artifact int8-native

An artifact whose engine or GPU is missing on this machine is skipped; the output gives the reason.

exit codes: 0 ok, 1 standard output cannot be written, 2 usage, 3 an artifact no longer gives its golden
            vectors or scores, 4 damaged, 5 engine missing, 130 interrupted, 143 terminated
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="m3e-check",
        description="Check a bundle: schema, hashes, and every artifact against golden vectors or scores.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle folder")
    parser.add_argument("--artifact", metavar="NAME", help="check this artifact and its files only")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: all)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return run(_command, parser, argv)


def _command(options: argparse.Namespace) -> int:
    bundle = Bundle.open(options.bundle)
    chosen = _chosen(bundle, options.artifact)
    entries = _entries(bundle, chosen)
    with progress_bar(len(entries), "file", "Hashing") as bar:
        for entry in entries:
            bundle.verify(entry)
            bar.update()
    results, not_run = _check_all(bundle, chosen, options.threads)
    if not results:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in not_run.items())
        raise EngineMissingError(f"{bundle.path}: hashes match, and nothing in it can be run here. {reasons}")
    passed = all(result["passed"] for result in results)
    if options.json:
        found = {"bundle": shown(bundle.path), "passed": passed, "artifacts": results, "not_run": not_run}
        say(json_text(found))
    else:
        say(f"{bundle.path}: {len(entries)} files, hashes match")
        for result in results:
            word = "ok" if result["passed"] else "BELOW ITS GATE"
            say(f"{result['name']}: {word}, {_measures(result)}")
        for name, reason in not_run.items():
            say(f"{name}: not run, {reason}")
    return 0 if passed else _BELOW_GATE


def _measures(result: dict[str, Any]) -> str:
    if "max_difference" in result:
        differences = f"mean {result['mean_difference']:.1e} max {result['max_difference']:.1e}"
        return f"{result['texts']} golden scores, difference {differences}"
    tokens = _token_words(result.get("token_outputs", {}))
    if "mean_cosine" not in result:
        return f"{result['texts']} golden texts{tokens}"
    cosines = f"mean {result['mean_cosine']:.6f} min {result['min_cosine']:.6f}"
    return f"{result['texts']} golden texts, cosine {cosines}{tokens}"


def _token_words(found: dict[str, Any]) -> str:
    words = {"sparse_min_cosine": "sparse cosine min", "max_sim_difference": "MaxSim difference max"}
    return "".join(f", {words[name]} {found[name]:.6f}" for name in words if name in found)


def _chosen(bundle: Bundle, name: str | None) -> list[Artifact]:
    artifacts = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    if name is not None and name not in artifacts:
        raise OptionError(f"--artifact {name}: {bundle.path} has {', '.join(artifacts)}.")
    return list(artifacts.values()) if name is None else [artifacts[name]]


def _entries(bundle: Bundle, chosen: Sequence[Artifact]) -> list[FileEntry]:
    """The files of the artifacts ``chosen``, and those that belong to no artifact."""
    left_out = [artifact for artifact in bundle.manifest.artifacts if artifact not in chosen]
    of_others = {entry.path for artifact in left_out for entry in artifact.files}
    of_chosen = {entry.path for artifact in chosen for entry in artifact.files}
    return [entry for entry in bundle.entries() if entry.path not in of_others - of_chosen]


def _check_all(
    bundle: Bundle, artifacts: Sequence[Artifact], threads: int | None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The results, and the reasons for skipped artifacts. A missing engine is not an error of the bundle."""
    check = _check_of(bundle)
    results, not_run = [], {}
    for artifact in artifacts:
        if reason := why_not_here(artifact):
            not_run[artifact.name] = reason
            continue
        try:
            results.append(check(bundle, artifact, threads))
        except EngineMissingError as error:  # it is there and cannot be imported
            not_run[artifact.name] = str(error)
    return results, not_run


def _check_of(bundle: Bundle) -> Callable[[Bundle, Artifact, int | None], dict[str, Any]]:
    if bundle.manifest.classification is not None:
        return check_scores
    return check_artifact if bundle.manifest.gives_dense else check_tokens_alone


def check_artifact(bundle: Bundle, artifact: Artifact, threads: int | None) -> dict[str, Any]:
    """Encode the golden texts with ``artifact`` and compare with the stored vectors.

    The bounds are the gate's. If it only bounds a mean or a percentile, the worst golden text may be as far
    from its vector as the worst text was at export, plus an allowance for the rounding of other processors.
    """
    golden = bundle.manifest.golden
    expected = normalize(golden.unpack(bundle.manifest.output_dimension))
    with closing(Encoder.load(bundle.path, artifact=artifact.name, threads=threads, verify=False)) as encoder:
        found = normalize(encoder.encode(list(golden.texts), prompt=golden.prompt))
        tokens = check_token_outputs(encoder)
    cosines = (expected * found).sum(axis=1)
    least = artifact.vector_fidelity.min_cosine
    floor = min(least, 1.0) - max(1e-5, 0.25 * (1 - least))
    passed = bool(np.isfinite(found).all() and cosines.min() >= floor)
    outputs = {} if tokens is None else {"token_outputs": tokens}
    return {
        "name": artifact.name,
        "passed": passed and (tokens is None or tokens["passed"]),
        "texts": len(cosines),
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
        "floor": float(floor),
        **outputs,
    }


def check_scores(bundle: Bundle, artifact: Artifact, threads: int | None) -> dict[str, Any]:
    """Score the golden texts or pairs with ``artifact`` and compare with the stored logits.

    A logit may be as far from the oracle's as the furthest was at export, plus an allowance for the rounding
    of other processors.
    """
    golden, measured = bundle.manifest.golden, artifact.score_fidelity
    assert measured is not None  # noqa: S101 - Bundle.open refuses such artifacts
    expected = golden.unpack(bundle.manifest.dimension)
    columns = (golden.texts, golden.passages) if golden.passages else (golden.texts,)
    items = list(zip(*columns, strict=True))
    loaded = Reranker.load(bundle.path, artifact=artifact.name, threads=threads, verify=False)
    with closing(loaded) as reranker:
        differences = np.abs(reranker.logits(items, prompt=golden.prompt) - expected)
    allowance = max(1e-5 * max(1.0, float(np.abs(expected).max())), 0.25 * measured.max_difference)
    ceiling = measured.max_difference + allowance
    return {
        "name": artifact.name,
        "passed": bool(differences.max() <= ceiling),
        "texts": len(expected),
        "mean_difference": float(differences.mean()),
        "max_difference": float(differences.max()),
        "ceiling": float(ceiling),
    }


if __name__ == "__main__":
    sys.exit(main())
