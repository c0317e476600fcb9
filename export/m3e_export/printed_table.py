"""The table that ``m3e-export`` prints."""

from __future__ import annotations

from m3e_export.report.token_lines import token_lines
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import Artifact, ScoreFidelity
from m3e_runtime.token_outputs import given_outputs

__all__ = ["report"]

_VECTORS = f"{'mean cos':>9}{'p1':>9}{'min':>9}{'top-10':>8}"
_SCORES = f"{'mean diff':>10}{'max diff':>10}{'order':>9}{'nDCG@10':>9}"


def report(bundle: Bundle) -> str:
    """The table that the command prints without ``--json``."""
    manifest = bundle.manifest
    scores = manifest.artifacts[0].score_fidelity
    measures = _SCORES if scores is not None else _VECTORS if manifest.gives_dense else ""
    return "\n".join(
        [
            _about_vectors(bundle) if scores is None else _about_scores(bundle, scores),
            f"{'artifact':<16}{'size':>9}  {measures}  matrices",
            *(_line(each, manifest.gives_dense) for each in manifest.artifacts),
            *token_lines(bundle),
            f"licence: {manifest.licence}",
        ]
    )


def _about_vectors(bundle: Bundle) -> str:
    manifest = bundle.manifest
    fidelity = manifest.artifacts[0].vector_fidelity
    given = f"{manifest.output_dimension} dimensions"
    if not manifest.gives_dense:
        given = f"{', '.join(given_outputs(manifest.token_outputs))} only"
    return (
        f"{bundle.path}: {manifest.source.id}, {given}, judged against {fidelity.oracle} on {fidelity.texts} "
        "texts"
    )


def _about_scores(bundle: Bundle, fidelity: ScoreFidelity) -> str:
    labels = bundle.manifest.dimension
    count = "one label" if labels == 1 else f"{labels} labels"
    judged = f"{fidelity.pairs} texts"
    if bundle.manifest.golden.passages:
        judged = f"{fidelity.pairs} pairs of {fidelity.groups} queries"
    return (
        f"{bundle.path}: {bundle.manifest.source.id}, {count}, judged against {fidelity.oracle} on {judged}"
    )


def _line(artifact: Artifact, measured: bool) -> str:
    size = sum(entry.size for entry in artifact.files) / 1e6
    mix = ", ".join(f"{count} {name}" for name, count in artifact.mix.items())
    return f"{artifact.name:<16}{size:>6.1f} MB  {_measures(artifact) if measured else ''}  {mix}"


def _measures(artifact: Artifact) -> str:
    scores = artifact.score_fidelity
    if scores is not None:
        differences = f"{scores.mean_difference:>10.1e}{scores.max_difference:>10.1e}"
        return f"{differences}{scores.order_kept:>9.4f}{scores.ndcg_at_10:>9.4f}"
    found = artifact.vector_fidelity
    lowest = f"{found.p1_cosine:>9.5f}{found.min_cosine:>9.5f}"
    return f"{found.mean_cosine:>9.6f}{lowest}{found.overlap_at_10:>8.4f}"
