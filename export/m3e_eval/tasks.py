"""Tasks of mteb with other data. The metrics are mteb's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.task_metadata import TaskMetadata

from m3e_eval.local import Judgements, Labelled, LocalData, Pairs

__all__ = [
    "ClassificationTask",
    "Loaded",
    "PairTask",
    "RerankingTask",
    "RetrievalTask",
    "SimilarityTask",
    "make_task",
]

_SUBSET = "default"
_TEST = "test"
_SAMPLES_PER_LABEL = 32
_EXPERIMENTS = 10


@dataclass(frozen=True)
class Loaded:
    """Data and its origin, for the report."""

    data: LocalData
    origin: str


Loader = Callable[[], Loaded]


class _Task(ABC):
    """What the tasks share: a name, a function that loads the data, and mteb's metadata."""

    kind: str
    main_score: str
    category = "t2t"
    origin = ""

    def __init__(self, name: str, load: Loader, split: str = _TEST) -> None:
        self._load = load
        self._metadata = TaskMetadata(
            name=name,
            description=f"{name}, loaded by m3e-eval",
            dataset={"path": name, "revision": "local"},
            type=self.kind,
            category=self.category,
            eval_splits=[split],
            # mteb requires languages; nothing depends on them.
            eval_langs=["cmn-Hans", "eng-Latn"],
            main_score=self.main_score,
        )
        super().__init__()

    @property
    def metadata(self) -> Any:
        """The metadata. It is a property because mteb deletes attributes when it unloads the data."""
        return self._metadata

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Load the data once. ``num_proc`` is an argument of mteb."""
        if self.data_loaded:
            return
        found = self._load()
        self.origin = found.origin
        self.dataset = self._arrange(found.data)
        self.data_loaded = True

    data_loaded = False
    dataset: Any = None

    @abstractmethod
    def _arrange(self, data: Any) -> Any:
        """The data in the form of mteb's task."""


class SimilarityTask(_Task, AbsTaskSTS):  # type: ignore[misc]
    """Similarity: do cosines rank the pairs as the scores do?"""

    kind = "STS"
    main_score = "cosine_spearman"

    def _arrange(self, data: Pairs) -> DatasetDict:
        self.min_score, self.max_score = min(data.values), max(data.values)
        columns = {"sentence1": data.first, "sentence2": data.second, "score": data.values}
        return DatasetDict({_TEST: Dataset.from_dict(columns)})


class PairTask(_Task, AbsTaskPairClassification):  # type: ignore[misc]
    """Pairs: do matching pairs have higher cosines than others?"""

    kind = "PairClassification"
    main_score = "cosine_ap"

    def _arrange(self, data: Pairs) -> DatasetDict:
        labels = [int(value) for value in data.values]
        columns = {"sentence1": data.first, "sentence2": data.second, "labels": labels}
        return DatasetDict({_TEST: Dataset.from_dict(columns)})


class RetrievalTask(_Task, AbsTaskRetrieval):  # type: ignore[misc]
    """Retrieval: are the relevant passages the nearest to their query?"""

    kind = "Retrieval"
    main_score = "ndcg_at_10"

    def _arrange(self, data: Judgements) -> dict[str, Any]:
        (split,) = self.metadata.eval_splits
        parts = {
            "corpus": _by_id(data.passages),
            "queries": _by_id(data.queries),
            "relevant_docs": data.relevant,
            "top_ranked": None,
        }
        return {_SUBSET: {split: parts}}


class RerankingTask(RetrievalTask):
    """Reranking: do the relevant ones of a query's passages come first? Only judged passages are ranked."""

    kind = "Reranking"

    def _arrange(self, data: Judgements) -> dict[str, Any]:
        arranged = super()._arrange(data)
        (split,) = arranged[_SUBSET].values()
        split["top_ranked"] = {query: list(judged) for query, judged in data.relevant.items()}
        return arranged


class ClassificationTask(_Task, AbsTaskClassification):  # type: ignore[misc]
    """Classification: how well does a logistic regression on a few vectors per class separate the classes?"""

    kind = "Classification"
    category = "t2c"
    main_score = "accuracy"

    def __init__(self, name: str, load: Loader, split: str = _TEST, experiments: int = _EXPERIMENTS) -> None:
        super().__init__(name, load, split)
        self.samples_per_label = _SAMPLES_PER_LABEL
        self.n_experiments = experiments

    def _arrange(self, data: Labelled) -> DatasetDict:
        splits = {"train": data.train, data.split: data.judged}
        return DatasetDict(
            {
                name: Dataset.from_dict({"text": texts, "label": labels})
                for name, (texts, labels) in splits.items()
            }
        )


def make_task(name: str, data: LocalData, origin: str) -> Any:
    """The task for ``data``."""

    def load() -> Loaded:
        return Loaded(data, origin)

    if isinstance(data, Judgements):
        return RetrievalTask(name, load)
    if isinstance(data, Labelled):
        return ClassificationTask(name, load, data.split)
    return (SimilarityTask if data.graded else PairTask)(name, load)


def _by_id(texts: dict[str, str]) -> Dataset:
    return Dataset.from_dict({"id": list(texts), "text": list(texts.values())})
