"""The first ten thousand passages of T2Ranking, as in mteb-zh."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m3e_eval.errors import DataError
from m3e_eval.local import Judgements, answerable
from m3e_runtime import git_lfs

__all__ = ["FILES", "LAST_PASSAGE", "from_files", "from_hub"]

FILES = ("collection.tsv", "queries.dev.tsv", "qrels.dev.tsv")
LAST_PASSAGE = 10000
"""The last id to keep. Ids start at 0, so there are 10001 passages."""

_HUB_ID = "THUIR/T2Ranking"


def from_hub() -> tuple[Judgements, str]:
    """Download the data; return it and its name. The whole collection is downloaded, about 3.5 GB.

    Raises:
        DataError: the download fails.
    """
    from huggingface_hub import hf_hub_download

    try:
        files = [Path(hf_hub_download(_HUB_ID, f"data/{name}", repo_type="dataset")) for name in FILES]
    except Exception as error:  # network, authorization and cache errors share no base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{_HUB_ID} cannot be downloaded ({reason}).") from error
    return from_files(*files), _HUB_ID


def from_files(collection: Path, queries: Path, qrels: Path) -> Judgements:
    """The passages up to :data:`LAST_PASSAGE`, their judgements, and the queries that they answer.

    Raises:
        DataError: a file is missing, or its lines are not those of T2Ranking.
    """
    found = Judgements()
    for pid, text in _columns(collection, 2):
        if int(pid) > LAST_PASSAGE:  # ids ascend, and millions of lines follow
            break
        found.passages[pid] = text
    texts = dict(_columns(queries, 2))
    for qid, _, pid, relevance in _columns(qrels, 4):
        if pid in found.passages and qid in texts:
            found.queries[qid] = texts[qid]
            found.relevant.setdefault(qid, {})[pid] = int(relevance)
    return answerable(found, str(qrels))


def _columns(file: Path, count: int) -> Iterator[list[str]]:
    """The fields of every line except a header. A quotation mark has no special meaning."""
    if git_lfs.is_pointer(file):
        raise DataError(f"{file}: {git_lfs.HINT}.")
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\r\n").split("\t", count - 1)
                if number == 1 and not cells[0].isdigit():
                    continue
                if len(cells) != count or not cells[0].isdigit() or (count > 2 and not cells[-1].isdigit()):
                    raise DataError(f"{file}, line {number}: not {count} fields of T2Ranking.")
                yield cells
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}).") from error
