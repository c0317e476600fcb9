"""The suites: the tasks of the M3E authors, C-MTEB, questions with code, or local files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m3e_eval import published, t2ranking
from m3e_eval.errors import DataError
from m3e_eval.local import SUFFIXES, Judgements, Labelled, read_local
from m3e_eval.published import Published
from m3e_eval.tasks import ClassificationTask, Loaded, RerankingTask, RetrievalTask, make_task
from m3e_export.errors import OptionError

__all__ = ["CODE_FILE", "SUITES", "Planned", "plan"]

SUITES = ("m3e", "c-mteb", "code")
LOCAL = "files"

_BENCHMARK = "MTEB(cmn, v1)"
_PARQUET = "refs/convert/parquet"
_T2R = "T2RRetrieval"
_RERANKING = "Reranking"
_CODE = "QuestionsWithCode"
CODE_FILE = Path(__file__).parent / "data" / "questions_with_code.jsonl"
"""Questions, half of them Chinese, with functions in Python, Go and Java and statements of SQL, our own. The
functions of one topic come one after the other, so that the nearest wrong answers do something similar."""

_CODE_TASKS = ("CosQA", "AppsRetrieval", "StackOverflowQA", "SyntheticText2SQL", "CodeSearchNetRetrieval")
"""mteb's tasks from text to code."""

_SEARCH_METRICS = ("ndcg_at_10", "mrr_at_10", "recall_at_10")
_RANKING_METRICS = ("ndcg_at_10", "mrr_at_10", "map_at_1000")
"""nDCG@10, MRR@10, and MAP: no query has a thousand passages."""


@dataclass(frozen=True)
class Planned:
    """A task of mteb, its metrics (the main one first), and the table of its published scores."""

    suite: str
    name: str
    task: Any
    metrics: tuple[str, ...]
    split: str
    table: Published | None = None


@dataclass(frozen=True)
class _HubSet:
    """Labelled texts on the hub: the configuration, the column of texts, and the split to evaluate on."""

    hub_id: str
    subset: str | None
    column: str
    split: str


@dataclass(frozen=True)
class _M3eSet:
    """A classification set of the M3E authors, and C-MTEB's copy in case the hub no longer has it."""

    name: str
    original: _HubSet
    experiments: int = 10
    copy: _HubSet | None = None


_M3E_SETS = (
    _M3eSet(
        "TNews",
        _HubSet("clue/clue", "tnews", "sentence", "validation"),
        experiments=5,
        copy=_HubSet("C-MTEB/TNews-classification", None, "text", "validation"),
    ),
    _M3eSet(
        "JDIphone",
        _HubSet("kuroneko5943/jd21", "iPhone", "sentence", "validation"),
        copy=_HubSet("C-MTEB/JDReview-classification", None, "text", "test"),
    ),
    _M3eSet("GubaEastmony", _HubSet("Fearao/guba_eastmoney", None, "text", "test")),
    _M3eSet(
        "TYQSentiment",
        _HubSet("tyqiangz/multilingual-sentiments", "chinese", "text", "validation"),
        copy=_HubSet("C-MTEB/MultilingualSentiment-classification", None, "text", "validation"),
    ),
    _M3eSet("StockComSentiment", _HubSet("kuroneko5943/stock11", "communication", "sentence", "validation")),
    _M3eSet(
        "IFlyTek",
        _HubSet("clue/clue", "iflytek", "sentence", "validation"),
        experiments=3,
        copy=_HubSet("C-MTEB/IFlyTek-classification", None, "text", "validation"),
    ),
)


def plan(
    suites: Sequence[str], data: Path | None = None, only: Iterable[str] = (), ranks: bool = False
) -> list[Planned]:
    """The tasks of ``suites``, each of them ``m3e``, ``c-mteb`` or a file.

    Args:
        suites: names of suites, or files. ``code`` needs the hub for all tasks but the first.
        data: a folder with the sets of ``m3e``; None downloads them.
        only: names of the tasks to keep; empty keeps all.
        ranks: whether the model is a reranker, for which only some tasks are meant.

    Raises:
        OptionError: a name is neither a suite nor a file, or ``only`` has an unknown task.
        DataError: a file is not a valid task.
    """
    if data is not None and "m3e" not in suites:
        raise OptionError("--data is for --suite m3e.")
    found: list[Planned] = []
    for suite in dict.fromkeys(suites):
        found += _rankings(suite) if ranks else _embeddings(suite, data)
    names = [planned.name for planned in found]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise OptionError(f"--tasks {', '.join(unknown)}: no such task; the suite has: {', '.join(names)}.")
    wanted = set(only) or set(names)
    return [planned for planned in found if planned.name in wanted]


def _embeddings(suite: str, data: Path | None) -> list[Planned]:
    """The tasks of an embedding model."""
    if suite == "m3e":
        return _m3e(data)
    if suite == "code":
        return _code()
    return _c_mteb() if suite == "c-mteb" else [_file(suite)]


def _rankings(suite: str) -> list[Planned]:
    """The tasks of a reranker. The published scores are those of embedding models, and left out."""
    if suite in ("m3e", "code"):
        raise OptionError(f"--suite {suite} has no task for a reranker; use c-mteb, or files.")
    if suite != "c-mteb":
        return [_ranking_file(suite)]
    tasks = [planned for planned in _c_mteb() if planned.task.metadata.type == _RERANKING]
    return [dataclasses.replace(planned, metrics=_RANKING_METRICS, table=None) for planned in tasks]


def _ranking_file(name: str) -> Planned:
    file = _local_file(name)
    data = read_local(file)
    if not isinstance(data, Judgements):
        raise DataError(f"{file}: a reranker is scored on the columns query, passage, relevance.")
    task = RerankingTask(file.stem, lambda: Loaded(data, file.name))
    return Planned(LOCAL, file.stem, task, _RANKING_METRICS, *task.metadata.eval_splits)


def _local_file(name: str) -> Path:
    file = Path(name)
    if file.suffix.lower() not in SUFFIXES and not file.exists():
        raise OptionError(
            f"--suite {name}: use {', '.join(SUITES)}, or files that end in {', '.join(SUFFIXES)}."
        )
    return file


def _file(name: str) -> Planned:
    file = _local_file(name)
    task = make_task(file.stem, read_local(file), file.name)
    return Planned(LOCAL, file.stem, task, (task.main_score,), *task.metadata.eval_splits)


def _m3e(data: Path | None) -> list[Planned]:
    if data is not None and not data.is_dir():
        raise OptionError(f"--data {data}: no such folder.")
    tasks = [
        Planned(
            "m3e",
            each.name,
            ClassificationTask(each.name, _classes(each, data), each.original.split, each.experiments),
            ("accuracy",),
            each.original.split,
            table=published.M3E,
        )
        for each in _M3E_SETS
    ]
    retrieval = RetrievalTask(_T2R, _passages(data), "dev")
    metrics = ("ndcg_at_10", "ndcg_at_1")
    return [*tasks, Planned("m3e", _T2R, retrieval, metrics, "dev", table=published.M3E)]


def _c_mteb() -> list[Planned]:
    import mteb

    return [
        Planned(
            "c-mteb",
            task.metadata.name,
            task,
            (published.C_MTEB.metrics.get(task.metadata.name, task.metadata.main_score),),
            _published_split(task),
            table=published.C_MTEB,
        )
        for task in mteb.get_benchmark(_BENCHMARK).tasks
    ]


def _code() -> list[Planned]:
    import mteb

    def load() -> Loaded:
        return Loaded(read_local(CODE_FILE), CODE_FILE.name)

    own = RetrievalTask(_CODE, load, "test")
    tasks = [mteb.get_task(name) for name in _CODE_TASKS]
    return [
        Planned("code", _CODE, own, _SEARCH_METRICS, "test"),
        *(Planned("code", each.metadata.name, each, _SEARCH_METRICS, each.eval_splits[0]) for each in tasks),
    ]


def _published_split(task: Any) -> str:
    """Of two splits, C-MTEB reported the one that is not called test."""
    splits = list(task.eval_splits)
    return str(next((split for split in splits if split != "test"), splits[0]))


def _classes(each: _M3eSet, data: Path | None) -> Callable[[], Loaded]:
    def load() -> Loaded:
        if data is None:
            return _from_hub(each)
        file = _data_file(data, each.name)
        found = read_local(file, each.original.split)
        if not isinstance(found, Labelled):
            raise DataError(f"{file}: {each.name} needs the columns text, label and split.")
        return Loaded(found, file.name)

    return load


def _passages(data: Path | None) -> Callable[[], Loaded]:
    def load() -> Loaded:
        if data is None:
            return Loaded(*t2ranking.from_hub())
        for folder in (data, data / "data"):  # flat, or as in the hub's repository
            files = [folder / name for name in t2ranking.FILES]
            if all(file.is_file() for file in files):
                return Loaded(t2ranking.from_files(*files), ", ".join(t2ranking.FILES))
        file = _data_file(data, _T2R, f" (nor {', '.join(t2ranking.FILES)})")
        found = read_local(file)
        return Loaded(found, file.name)

    return load


def _data_file(folder: Path, name: str, more: str = "") -> Path:
    file = next(
        (folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()), None
    )
    if file is None:
        raise DataError(f"no {name}{{{','.join(SUFFIXES)}}}{more} in {folder}.")
    return file


def _from_hub(each: _M3eSet) -> Loaded:
    """The original or C-MTEB's copy. The report says which."""
    problems = []
    for found in filter(None, (each.original, each.copy)):
        try:
            labelled = _labelled(_download(found), found, each.original.split)
        except Exception as error:  # errors of the network and of missing or invalid sets share no base class
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            problems.append(f"{found.hub_id}: {reason}")
            continue
        copy = "" if found is each.original else f", C-MTEB's copy (not the original: {problems[0]})"
        return Loaded(labelled, " ".join(filter(None, (found.hub_id, found.subset))) + copy)
    raise DataError(f"{each.name} cannot be downloaded ({'; '.join(problems)}).")


def _download(found: _HubSet) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(found.hub_id, found.subset)
    except RuntimeError:
        # datasets no longer runs scripts; the hub keeps the converted data.
        return load_dataset(found.hub_id, found.subset, revision=_PARQUET)


def _labelled(sets: Any, found: _HubSet, split: str) -> Labelled:
    train, judged = (
        (list(sets[name][found.column]), [int(label) for label in sets[name]["label"]])
        for name in ("train", found.split)
    )
    return Labelled(train, judged, split)
