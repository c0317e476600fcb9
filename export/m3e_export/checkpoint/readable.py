"""A checkpoint's folder in a form that other libraries can read."""

from __future__ import annotations

import codecs
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_runtime.file_names import shown

__all__ = ["readable_folder"]

_MARK = codecs.BOM_UTF8


@contextmanager
def readable_folder(folder: Path) -> Iterator[Path]:
    """Yield ``folder``, or a temporary copy if other libraries cannot read it.

    transformers, tokenizers and sentence-transformers do not skip a byte order mark, and safetensors cannot
    open a path that is not UTF-8. In the copy, all but the JSON files are links.
    """
    path = str(folder.resolve())
    if path == shown(path) and not any(map(_is_marked, folder.rglob("*.json"))):
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        for file in folder.rglob("*"):
            if file.is_file():
                _put(file, Path(made) / file.relative_to(folder))
        yield Path(made)


def _is_marked(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(_MARK)) == _MARK


def _put(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".json":
        place.write_bytes(file.read_bytes().removeprefix(_MARK))
        return
    try:
        place.symlink_to(file.resolve())
    except OSError:  # few users of Windows may create links
        shutil.copyfile(file, place)
