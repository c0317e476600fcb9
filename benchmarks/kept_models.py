"""Checkpoints and bundles that are kept for the next run: on a rented machine, exporting twice is a waste."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.checkpoints import make_checkpoint
from benchmarks.workers import prepare

__all__ = ["kept_models"]

_KNOWN = "prepared.json"


def kept_models(names: list[str], shape: str, folder: Path) -> dict[str, Path | str]:
    """Each contestant's model of ``shape`` below ``folder``, or the reason why there is none.

    What an earlier call has made is used again; what failed is tried again. Another process that makes models
    of this shape is waited for.
    """
    own = folder / shape
    own.mkdir(parents=True, exist_ok=True)
    with _locked(own / "lock"):
        file = own / _KNOWN
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        lacking = [name for name in names if name not in known]
        made: dict[str, Path | str] = {}
        if lacking:
            made = prepare(lacking, make_checkpoint(own / "checkpoint", shape))
            known |= {name: str(model) for name, model in made.items() if isinstance(model, Path)}
            file.write_text(json.dumps(known), encoding="utf-8")
    return {name: Path(known[name]) if name in known else made[name] for name in names}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
