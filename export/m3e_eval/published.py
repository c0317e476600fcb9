"""Published scores and their sources. They are shown beside the measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ADA_002",
    "AVERAGE",
    "C_MTEB",
    "GOLDEN_COSINES",
    "M3E",
    "GoldenCosine",
    "Published",
    "is_checkpoint",
    "model_of",
]

ADA_002 = "ada-002"
"""A closed model, of which there are only published scores."""
AVERAGE = "average"

_MAIN = "main score"

# The checkpoint of each column: the last part of its hub id.
_CHECKPOINTS = {
    "text2vec": "text2vec-base-chinese",
    "text2vec-large": "text2vec-large-chinese",
    "m3e-small": "m3e-small",
    "m3e-base": "m3e-base",
    "m3e-large": "m3e-large",
    "m3e-large-0619": "m3e-large",
}
_OWNERS = {"moka-ai", "shibing624", "GanymedeNil"}


@dataclass(frozen=True)
class Published:
    """A table of scores as fractions of one, with a row for each task and metric and a column for each model.

    ``metrics`` has the main metric of each task, ``averaged`` the tasks of the row of averages.
    """

    source: str
    models: tuple[str, ...]
    rows: Mapping[tuple[str, str], tuple[float, ...]]
    metrics: Mapping[str, str]
    averaged: frozenset[str]
    average_metric: str

    def scores(self, task: str, metric: str) -> dict[str, float]:
        """The scores of all models; empty if there is no such row."""
        return dict(zip(self.models, self.rows.get((task, metric), ()), strict=False))


@dataclass(frozen=True)
class GoldenCosine:
    """Two texts and the cosine that a checkpoint's author publishes for them."""

    first: str
    second: str
    cosine: float


def model_of(source: str, table: Published) -> str | None:
    """The column of ``table`` for the checkpoint ``source``, a hub id or a folder, by its name."""
    return next((model for model in table.models if is_checkpoint(source, _CHECKPOINTS.get(model))), None)


def is_checkpoint(source: str, name: str | None) -> bool:
    """Whether ``source`` is a folder called ``name``, or the author's model of that name on a hub."""
    parts = source.replace("\\", "/").rstrip("/").split("/")
    if name is None or parts[-1] != name:
        return False
    # "someone/m3e-base" is another model. A folder is identified by its name.
    return len(parts) != 2 or parts[0] in _OWNERS or parts[0] in ("", ".", "..", "~")


def _fractions(
    rows: Mapping[str, tuple[float, ...]], metrics: Mapping[str, str], average: tuple[float, ...]
) -> dict[tuple[str, str], tuple[float, ...]]:
    """Convert C-MTEB's percentages to fractions."""
    found = {(task, metrics[task]): tuple(round(s / 100, 4) for s in scores) for task, scores in rows.items()}
    found[AVERAGE, _MAIN] = tuple(round(score / 100, 4) for score in average)
    return found


_M3E_CLASSES = ("TNews", "JDIphone", "GubaEastmony", "TYQSentiment", "StockComSentiment", "IFlyTek")
M3E = Published(
    source="https://github.com/wangyuxinwhy/uniem/blob/main/README.md",
    models=("text2vec", "m3e-small", "m3e-base", "m3e-large-0619", ADA_002),
    rows={
        ("TNews", "accuracy"): (0.43, 0.4443, 0.4827, 0.4866, 0.4594),
        ("JDIphone", "accuracy"): (0.8214, 0.8293, 0.8533, 0.8692, 0.746),
        ("GubaEastmony", "accuracy"): (0.7472, 0.712, 0.7621, 0.7663, 0.7574),
        ("TYQSentiment", "accuracy"): (0.6099, 0.6596, 0.7188, 0.7247, 0.68),
        ("StockComSentiment", "accuracy"): (0.4307, 0.4291, 0.4363, 0.4475, 0.4819),
        ("IFlyTek", "accuracy"): (0.414, 0.4263, 0.4409, 0.4445, 0.4486),
        (AVERAGE, "accuracy"): (0.5755, 0.5834, 0.6157, 0.6231, 0.5956),
        ("T2RRetrieval", "ndcg_at_10"): (0.6346, 0.7262, 0.8004, 0.7974, 0.7786),
        ("T2RRetrieval", "ndcg_at_1"): (0.5207, 0.6159, 0.6881, 0.6884, 0.6764),
    },
    metrics={**dict.fromkeys(_M3E_CLASSES, "accuracy"), "T2RRetrieval": "ndcg_at_10"},
    averaged=frozenset(_M3E_CLASSES),
    average_metric="accuracy",
)

_RETRIEVAL, _STS, _PAIRS, _CLASSES = "ndcg_at_10", "cosine_spearman", "cosine_ap", "accuracy"
_RERANKING, _CLUSTERS = "map_at_1000", "v_measure"
_C_MTEB_METRICS = {
    **dict.fromkeys(("T2Retrieval", "MMarcoRetrieval", "DuRetrieval", "CovidRetrieval"), _RETRIEVAL),
    **dict.fromkeys(("CmedqaRetrieval", "EcomRetrieval", "MedicalRetrieval", "VideoRetrieval"), _RETRIEVAL),
    **dict.fromkeys(("ATEC", "BQ", "LCQMC", "PAWSX", "STSB", "AFQMC", "QBQTC"), _STS),
    # C-MTEB reported average precision. mteb's main score of these two has changed since.
    **dict.fromkeys(("Ocnli", "Cmnli"), _PAIRS),
    **dict.fromkeys(("TNews", "IFlyTek", "MultilingualSentiment", "JDReview"), _CLASSES),
    **dict.fromkeys(("OnlineShopping", "Waimai"), _CLASSES),
    **dict.fromkeys(
        ("T2Reranking", "MMarcoReranking", "CMedQAv1-reranking", "CMedQAv2-reranking"), _RERANKING
    ),
    **dict.fromkeys(("CLSClusteringS2S", "CLSClusteringP2P"), _CLUSTERS),
    **dict.fromkeys(("ThuNewsClusteringS2S", "ThuNewsClusteringP2P"), _CLUSTERS),
}
C_MTEB = Published(
    source="https://github.com/FlagOpen/FlagEmbedding/blob/master/C_MTEB/README.md",
    models=("text2vec", "text2vec-large", "m3e-base", "m3e-large", ADA_002),
    rows=_fractions(
        {
            "T2Retrieval": (51.67, 50.52, 73.14, 72.36, 69.14),
            "MMarcoRetrieval": (44.06, 45.96, 65.45, 61.06, 69.86),
            "DuRetrieval": (52.23, 51.87, 75.76, 74.69, 71.17),
            "CovidRetrieval": (44.81, 60.48, 66.42, 61.33, 57.21),
            "CmedqaRetrieval": (15.91, 15.53, 30.33, 30.73, 22.36),
            "EcomRetrieval": (34.59, 37.58, 50.27, 45.18, 44.49),
            "MedicalRetrieval": (27.56, 30.93, 42.8, 48.66, 37.92),
            "VideoRetrieval": (39.52, 42.65, 51.11, 44.02, 43.85),
            "ATEC": (31.93, 32.45, 41.27, 41.8, 29.25),
            "BQ": (42.67, 44.22, 63.81, 65.2, 45.33),
            "LCQMC": (70.16, 69.16, 74.88, 74.2, 68.41),
            "PAWSX": (17.21, 14.55, 12.19, 15.95, 16.55),
            "STSB": (79.3, 79.45, 76.97, 74.16, 70.61),
            "AFQMC": (26.06, 24.51, 35.87, 36.53, 23.88),
            "QBQTC": (24.62, 29.51, 32.07, 32.65, 30.27),
            "Ocnli": (60.95, 64.04, 58.0, 59.33, 63.08),
            "Cmnli": (73.87, 77.67, 69.98, 69.27, 76.03),
            "TNews": (43.02, 38.92, 48.28, 48.26, 45.77),
            "IFlyTek": (42.05, 41.54, 44.42, 43.96, 44.62),
            "MultilingualSentiment": (60.98, 58.97, 71.9, 72.47, 67.99),
            "JDReview": (82.14, 81.56, 85.33, 86.92, 74.6),
            "OnlineShopping": (85.69, 83.51, 87.77, 89.59, 88.94),
            "Waimai": (77.22, 76.01, 83.99, 86.1, 82.37),
            "T2Reranking": (65.95, 64.82, 66.03, 66.13, 66.65),
            "MMarcoReranking": (12.76, 12.48, 17.51, 16.46, 23.39),
            "CMedQAv1-reranking": (59.26, 58.92, 77.05, 77.76, 63.08),
            "CMedQAv2-reranking": (59.82, 60.41, 76.76, 78.27, 64.02),
            "CLSClusteringS2S": (32.42, 30.13, 37.34, 38.02, 35.91),
            "CLSClusteringP2P": (35.27, 28.77, 39.81, 38.6, 38.26),
            "ThuNewsClusteringS2S": (40.01, 26.14, 53.78, 58.51, 49.86),
            "ThuNewsClusteringP2P": (42.92, 35.05, 59.77, 60.39, 58.71),
        },
        _C_MTEB_METRICS,
        average=(47.63, 47.36, 57.10, 57.05, 53.02),
    ),
    metrics=_C_MTEB_METRICS,
    averaged=frozenset(_C_MTEB_METRICS),
    average_metric=_MAIN,
)

GOLDEN_COSINES: Mapping[str, tuple[GoldenCosine, ...]] = {
    "text2vec-base-chinese": (
        GoldenCosine("如何更换花呗绑定银行卡", "花呗更改绑定银行卡", 0.9477),
        GoldenCosine("如何更换花呗绑定银行卡", "The dog plays in the garden", -0.1748),
        GoldenCosine("如何更换花呗绑定银行卡", "我什么时候开通了花呗", 0.3635),
        GoldenCosine("A man is eating pasta.", "A man is eating food.", 0.6734),
    )
}
"""Published cosines by checkpoint, from https://github.com/shibing624/text2vec (README, examples)."""
