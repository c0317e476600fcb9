"""A checkpoint's folder as other libraries can read it."""

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
    """``folder``, or one like it for the block where its name is not UTF-8 or a JSON file begins with a mark.

    Neither transformers nor tokenizers nor sentence-transformers pass over a byte order mark, and safetensors
    opens no name that is not UTF-8. The other files of the folder that is made are links.
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
    except OSError:  # Windows lets few users make links
        shutil.copyfile(file, place)
