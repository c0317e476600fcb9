"""The evaluation: run the artifacts and the original on the same tasks of mteb."""

from __future__ import annotations

import functools
import logging
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m3e_eval import golden, published
from m3e_eval.contestant import EvaluatedModel
from m3e_eval.encoder import ArtifactEncoder, TextEncoder, load_reference
from m3e_eval.errors import DataError
from m3e_eval.golden import Check
from m3e_eval.published import Published
from m3e_eval.request import EvaluationRequest
from m3e_eval.scorer import ArtifactScorer, load_scorer
from m3e_runtime.backends.choice import why_not_here
from m3e_runtime.bundle import Bundle
from m3e_runtime.errors import EngineMissingError, OptionError
from m3e_runtime.extras import extra_packages
from m3e_runtime.file_names import shown
from m3e_runtime.progress import progress_bar

__all__ = ["Contestant", "Evaluation", "NotRun", "Row", "evaluate"]

logger = logging.getLogger(__name__)

# The size of mteb's loader batches. The encoder takes all texts and makes its own batches.
_LOADER_BATCH = 1024


@dataclass(frozen=True)
class Contestant:
    """An artifact or the original. ``seconds`` is the time of all its tasks."""

    name: str
    kind: str
    precision: str
    engine: str
    seconds: float


@dataclass(frozen=True)
class Row:
    """One metric of one task: the scores of all contestants and the published ones, as fractions of one."""

    suite: str
    task: str
    type: str
    metric: str
    split: str
    data: str
    scores: dict[str, float]
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NotRun:
    """A task without scores of one contestant, or of all if ``contestant`` is None."""

    suite: str
    task: str
    contestant: str | None
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """The results. ``baseline`` is the contestant that differences refer to, if there is one."""

    bundle: Bundle
    mteb: str
    contestants: tuple[Contestant, ...]
    baseline: str | None
    rows: tuple[Row, ...]
    not_run: tuple[NotRun, ...]
    checks: tuple[Check, ...]
    tables: dict[str, Published]

    def loss(self, row: Row) -> dict[str, tuple[float, float]]:
        """Each contestant's difference and relative difference to the baseline. Negative is worse."""
        base = row.scores.get(self.baseline or "")
        if base is None:
            return {}
        return {
            name: (score - base, (score - base) / abs(base) if base else math.nan)
            for name, score in row.scores.items()
            if name != self.baseline
        }


def evaluate(request: EvaluationRequest) -> Evaluation:
    """Run an evaluation.

    Raises:
        OptionError: there is no such artifact, suite or task.
        DataError: no data set is available.
        CheckpointError: the reference cannot be loaded, or is not the bundle's checkpoint.
        DependencyMissingError: mteb or PyTorch is not installed.
        BundleError: the bundle is missing or damaged.
        EngineMissingError: an artifact cannot run here.
    """
    bundle = Bundle.open(request.bundle)
    if bundle.manifest.route is not None:
        logger.warning(
            "%s is the route %r of its model, which encodes both sides of retrieval tasks, in the original "
            "too. The scores compare precisions; they are not those of the whole model.",
            shown(bundle.path),
            bundle.manifest.route.name,
        )
    _check_kind(bundle)
    names = _artifacts(bundle, request.artifacts)
    run = _Run(request, bundle)
    # The data is checked before a model is loaded.
    run.load_tasks()
    for load in _loaders(request, bundle, names):
        model = load()
        run.contest(model)
        model.close()
    return run.result()


class _Run:
    """The loaded tasks and the results so far."""

    def __init__(self, request: EvaluationRequest, bundle: Bundle) -> None:
        self._request = request
        self._bundle = bundle
        self._mteb = _import_mteb()
        self._planned = _plan(request, bundle.manifest.classification is not None)
        self._contestants: list[Contestant] = []
        self._not_run: list[NotRun] = []
        self._checks: list[Check] = golden.cosines_not_run(self._source) if request.golden else []
        self._scores: dict[tuple[str, str, str], dict[str, float]] = {}

    @property
    def _source(self) -> str:
        return self._bundle.manifest.source.id

    def load_tasks(self) -> None:
        """Load the data of every task. Tasks without data are not run.

        Raises:
            DataError: no data is available, and there is nothing else to do.
        """
        ready = []
        with progress_bar(len(self._planned), "task", "Loading data") as bar:
            for planned in self._planned:
                reason = _load(planned.task)
                bar.update()
                if reason is None:
                    ready.append(planned)
                    continue
                logger.warning("%s is not run: %s", planned.name, reason)
                self._not_run.append(NotRun(planned.suite, planned.name, None, reason))
        if self._planned and not ready and not self._request.golden:
            raise DataError("no task could be loaded, see above.")
        self._planned = ready

    def contest(self, model: EvaluatedModel) -> None:
        """Run every task with ``model``."""
        started = time.perf_counter()
        with progress_bar(len(self._planned), "task", model.name) as bar:
            for planned in self._planned:
                try:
                    found = _score(self._mteb, model, planned)
                except Exception as error:  # a failed task must not stop hours of others
                    logger.warning("%s: %s failed (%s)", model.name, planned.name, error)
                    self._not_run.append(NotRun(planned.suite, planned.name, model.name, str(error)))
                    found = {}
                for metric, score in found.items():
                    self._scores.setdefault((planned.suite, planned.name, metric), {})[model.name] = score
                bar.update()
        seconds = round(time.perf_counter() - started, 3)
        self._contestants.append(Contestant(model.name, model.kind, model.precision, model.engine, seconds))
        if self._request.golden and isinstance(model, TextEncoder):
            self._checks += golden.check_cosines(model, self._source)

    def result(self) -> Evaluation:
        """The results."""
        tables = {planned.suite: planned.table for planned in self._planned if planned.table is not None}
        rows = list(self._rows())
        for suite in dict.fromkeys(row.suite for row in rows):
            rows += self._average(suite, tables.get(suite), rows)
        return Evaluation(
            bundle=self._bundle,
            mteb=self._mteb.__version__,
            contestants=tuple(self._contestants),
            baseline=_baseline(self._contestants),
            rows=tuple(rows),
            not_run=tuple(self._not_run),
            checks=tuple(self._checks + self._score_checks(rows)),
            tables=tables,
        )

    def _rows(self) -> Iterator[Row]:
        for planned in self._planned:
            for metric in planned.metrics:
                scores = self._scores.get((planned.suite, planned.name, metric))
                if scores:
                    yield Row(
                        planned.suite,
                        planned.name,
                        planned.task.metadata.type,
                        metric,
                        planned.split,
                        getattr(planned.task, "origin", planned.task.metadata.dataset["path"]),
                        scores,
                        planned.table.scores(planned.name, metric) if planned.table else {},
                    )

    def _average(self, suite: str, table: Published | None, rows: Sequence[Row]) -> list[Row]:
        """The mean over the tasks of the table's average, for contestants with all of them."""
        if table is None:
            return []
        found = [row for row in rows if row.suite == suite and row.task in table.averaged]
        found = [row for row in found if row.metric == table.metrics.get(row.task, row.metric)]
        if {row.task for row in found} != table.averaged:
            return []
        means = {
            each.name: float(np.mean([row.scores[each.name] for row in found]))
            for each in self._contestants
            if all(each.name in row.scores for row in found)
        }
        metric, data = table.average_metric, f"{len(found)} tasks"
        scores = table.scores(published.AVERAGE, metric)
        return [Row(suite, published.AVERAGE, "", metric, "", data, means, scores)] if means else []

    def _score_checks(self, rows: Sequence[Row]) -> list[Check]:
        if not self._request.golden:
            return []
        precisions = {each.name: each.precision for each in self._contestants}
        found: list[Check] = []
        for suite, table in (("m3e", published.M3E), ("c-mteb", published.C_MTEB)):
            scores = {(row.task, row.metric): row.scores for row in rows if row.suite == suite}
            reasons = {each.task: each.reason for each in self._not_run if each.suite == suite}
            found += golden.check_scores(suite, table, self._source, precisions, scores, reasons)
        return found


def _artifacts(bundle: Bundle, asked: Sequence[str]) -> list[str]:
    """The requested artifacts, or all that can run on this machine."""
    known = [artifact.name for artifact in bundle.manifest.artifacts]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise OptionError(f"{bundle.path} has no artifact {', '.join(unknown)}; it has: {', '.join(known)}.")
    if asked:
        return list(dict.fromkeys(asked))
    reasons = {artifact.name: why_not_here(artifact) for artifact in bundle.manifest.artifacts}
    found = [name for name, reason in reasons.items() if reason is None]
    for name, reason in reasons.items():
        if reason is not None:
            logger.warning("%s is left out, %s", name, reason)
    if not found:
        raise EngineMissingError(f"{bundle.path}: none of its artifacts can run on this machine.")
    return found


def _loaders(
    request: EvaluationRequest, bundle: Bundle, names: Sequence[str]
) -> Iterator[Callable[[], EvaluatedModel]]:
    """Functions that load the models, the original first. One model is in memory at a time."""
    ranks = bundle.manifest.classification is not None
    original: Callable[..., EvaluatedModel] = load_scorer if ranks else load_reference
    artifact: Callable[..., EvaluatedModel] = ArtifactScorer if ranks else ArtifactEncoder
    if request.reference is not None:
        yield functools.partial(original, request.reference, bundle, request.threads, request.hub)
    for name in names:
        yield functools.partial(artifact, bundle, name, request.threads)


def _check_kind(bundle: Bundle) -> None:
    """Check that the model gives vectors of texts, or is a reranker.

    mteb has no task for a classifier's own labels.
    """
    if not bundle.manifest.gives_dense:
        raise OptionError(
            f"{bundle.path}: gives outputs of tokens; m3e-eval scores vectors of texts, and rerankers."
        )
    classification = bundle.manifest.classification
    if classification is not None and len(classification.labels) > 1:
        raise OptionError(
            f"{bundle.path}: a classifier of {len(classification.labels)} labels; m3e-eval scores embedding "
            "models and rerankers, which have one label."
        )


def _plan(request: EvaluationRequest, ranks: bool) -> list[Any]:
    # suites imports mteb, which may be missing.
    from m3e_eval.suites import plan

    return plan(request.suites, request.data, request.tasks, ranks)


def _import_mteb() -> Any:
    with extra_packages("evaluating", "eval", "datasets", "mteb"):
        import datasets
        import mteb
    logging.getLogger("mteb").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    return mteb


def _load(task: Any) -> str | None:
    """Load the data of ``task``; return the reason in one line if it is not available."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task.load_data()
    except Exception as error:  # errors of network, authorization and formats share no base class
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def _score(mteb: Any, model: EvaluatedModel, planned: Any) -> dict[str, float]:
    """The metrics of ``planned``, from mteb."""
    task = planned.task
    # Reset the sampling, so that all contestants have the same samples.
    task.rng_state, task.np_rng = random.Random(task.seed), np.random.default_rng(task.seed)  # noqa: S311
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mteb.evaluate(
            model,
            task,
            cache=None,  # the cache only knows names, and a bundle of the same name may change
            co2_tracker=False,
            show_progress_bar=False,
            encode_kwargs={"batch_size": _LOADER_BATCH, "show_progress_bar": False},
        )
    subsets = result.task_results[0].scores[planned.split]
    # The mean over the subsets, as mteb gives it: CodeSearchNetRetrieval has one for each language.
    found = {metric: statistics.fmean(each[metric] for each in subsets) for metric in planned.metrics}
    for metric, score in found.items():
        if not math.isfinite(score):
            raise DataError(f"{metric} is {score}: the model does not distinguish the texts.")
    return found


def _baseline(contestants: Sequence[Contestant]) -> str | None:
    """The original, or else an artifact in fp32."""
    names = [each.name for each in contestants if each.kind == "reference"]
    names += [each.name for each in contestants if each.precision == "fp32"]
    return names[0] if names else None
