"""The section of a report about sparse vectors and multi-vectors: each measure with its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m3e_export.record import Candidate
from m3e_export.report.markup import Markup, element
from m3e_export.report.pieces import section, table
from m3e_runtime.manifest import MAX_SIM_TOKENS, TokenFidelity

__all__ = ["token_section"]

_SPARSE = ("sparse: mean cosine", "lowest", "top 100")
_MULTI_VECTOR = ("MaxSim orders kept", "largest difference")
_TERMS = {
    "mean cosine, lowest": "Of a text's two sparse vectors, the original's and the artifact's.",
    "top 100": "The share of common token ids among the hundred with the largest weights.",
    "MaxSim orders kept": "The share of pairs of texts whose order by MaxSim is the original's, with each "
    f"text as a query. It is computed from the first {MAX_SIM_TOKENS} vectors of each text.",
    "largest difference": "Absolute, of a MaxSim, which is a mean over the query's tokens.",
    "≥": "The gate's threshold. An artifact below it is not written.",
}


def token_section(candidates: Sequence[Candidate], dense: bool) -> Markup | None:
    """A table with a row for each artifact that gives outputs of tokens; None if there is none.

    Args:
        candidates: of the artifacts.
        dense: whether the model gives vectors of texts, too.
    """
    measured = [
        (each.artifact, each.token_fidelity) for each in candidates if each.token_fidelity is not None
    ]
    if not measured:
        return None
    found = [fidelity for _, fidelity in measured]
    sparse = any(each.sparse is not None for each in found)
    vectors = any(each.multi_vector is not None for each in found)
    heading = ["artifact", *_SPARSE * sparse, *_MULTI_VECTOR * vectors]
    rows = [[name, *_cells(fidelity)] for name, fidelity in measured]
    remark = f"Judged on {found[0].texts} texts." + ("" if dense else _MEANS)
    terms = [element("div", element("dt", term), element("dd", words)) for term, words in _TERMS.items()]
    explained = element(
        "details", element("summary", "What the columns say"), element("dl", *terms, class_="terms")
    )
    return section(
        "Outputs of tokens",
        table(heading, rows),
        element("p", remark, class_="quiet"),
        explained,
        id_="tokens",
    )


_MEANS = (
    " The model gives no vectors of texts: the other figures of this report are those of the mean of the "
    "tokens' states, and have no thresholds."
)


def _cells(found: TokenFidelity) -> Iterator[Markup]:
    limits = found.thresholds
    if (sparse := found.sparse) is not None:
        yield _cell(sparse.mean_cosine, limits.sparse_cosine, 6)
        yield _cell(sparse.min_cosine, 0.0, 6)
        yield _cell(sparse.top_100, limits.top_100, 4)
    if (vectors := found.multi_vector) is not None:
        yield _cell(vectors.order_kept, limits.order_kept, 4)
        yield element("td", f"{vectors.max_difference:.1e}", class_="number")


def _cell(value: float, limit: float, digits: int) -> Markup:
    """The figure and its threshold. A sign and a colour mark a failure."""
    failed = not value >= limit
    asked = element("small", f"≥ {limit:g}") if limit else None
    return element(
        "td", f"{'✗ ' * failed}{value:.{digits}f}", asked, class_="number bad" if failed else "number"
    )
