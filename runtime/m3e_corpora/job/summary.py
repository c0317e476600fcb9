"""The summary of an encoding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from m3e_corpora.job.counts import Counts
from m3e_corpora.job.job import Job
from m3e_runtime.file_names import shown

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True)
class Summary:
    """What was encoded.

    Attributes:
        texts: texts in the whole output; see :class:`m3e_corpora.job.counts.Counts`, like the next three.
        duplicates: duplicates in the whole output.
        truncated: truncated texts in the whole output.
        skipped: rows that are left out of the whole output.
        divided: rows that are divided into chunks in the whole output; each chunk is one of ``texts``.
        dimension: length of a stored vector; an eighth of the dimensions for binary ones. None if only
            outputs of tokens are stored.
        dtype: type of a stored number.
        seconds: duration of this run.
        texts_per_second: texts of this run.
        tokens_per_second: tokens of this run.
        padding_share: share of padding in the tokens that this run computed.
        partitions: partitions of the job.
        resumed: partitions that an earlier run finished.
        output: name of the output.
    """

    texts: int
    dimension: int | None
    dtype: str
    seconds: float
    texts_per_second: float
    tokens_per_second: float
    padding_share: float
    duplicates: int
    truncated: int
    skipped: int
    divided: int
    partitions: int
    resumed: int
    output: str


def summarize(
    output: str, job: Job, counts: Iterable[Counts], run: Counts, seconds: float, resumed: int
) -> Summary:
    """Summarize an encoding.

    Args:
        output: name of the output.
        job: the job.
        counts: counts of each partition.
        run: counts of this run.
        seconds: duration of this run.
        resumed: partitions that an earlier run finished.
    """
    partitions = list(counts)
    total = sum(partitions, Counts())
    seconds = max(seconds, 1e-9)
    return Summary(
        texts=total.texts,
        dimension=job.vectors.length if job.vectors.dense else None,
        dtype=str(job.vectors.dtype),
        seconds=round(seconds, 3),
        texts_per_second=round(run.texts / seconds, 1),
        tokens_per_second=round(run.tokens / seconds, 1),
        padding_share=round(run.padding_share, 4),
        duplicates=total.duplicates,
        truncated=total.truncated,
        skipped=total.skipped,
        divided=total.divided,
        partitions=len(partitions),
        resumed=resumed,
        output=shown(output),
    )
