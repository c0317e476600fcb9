"""The first ten thousand passages of T2Ranking, as mteb-zh took them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m3e_eval.errors import DataError
from m3e_eval.local import Judgements, answerable
from m3e_runtime import git_lfs

__all__ = ["FILES", "LAST_PASSAGE", "from_files", "from_hub"]

FILES = ("collection.tsv", "queries.dev.tsv", "qrels.dev.tsv")
LAST_PASSAGE = 10000
"""The last id that is kept; ids start from 0, so there are 10001 passages."""

_HUB_ID = "THUIR/T2Ranking"


def from_hub() -> tuple[Judgements, str]:
    """The data from the hub, and what to call them. The collection is downloaded whole, some 3.5 GB.

    Raises:
        DataError: the hub does not give them.
    """
    from huggingface_hub import hf_hub_download

    try:
        files = [Path(hf_hub_download(_HUB_ID, f"data/{name}", repo_type="dataset")) for name in FILES]
    except Exception as error:  # network, authorization and cache errors share no base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{_HUB_ID}: the hub did not give it ({reason}).") from error
    return from_files(*files), _HUB_ID


def from_files(collection: Path, queries: Path, qrels: Path) -> Judgements:
    """Passages up to :data:`LAST_PASSAGE`, their judgements, and the queries that one of them answers.

    Raises:
        DataError: a file is missing, or is not tab-separated as T2Ranking's are.
    """
    found = Judgements()
    for pid, text in _columns(collection, 2):
        if int(pid) > LAST_PASSAGE:  # ids ascend, and the file goes on for millions of lines
            break
        found.passages[pid] = text
    texts = dict(_columns(queries, 2))
    for qid, _, pid, relevance in _columns(qrels, 4):
        if pid in found.passages and qid in texts:
            found.queries[qid] = texts[qid]
            found.relevant.setdefault(qid, {})[pid] = int(relevance)
    return answerable(found, str(qrels))


def _columns(file: Path, count: int) -> Iterator[list[str]]:
    """The fields of every line but that of the names, where there is one; a quotation mark means nothing."""
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
