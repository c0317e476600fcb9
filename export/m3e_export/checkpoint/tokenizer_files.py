"""A tokenizer's files as other libraries can read them."""

from __future__ import annotations

import codecs
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m3e_export.checkpoint.jsonfile import refuse_pointer

__all__ = ["readable_tokenizer"]

_PATTERNS = ("*.json", "*.txt", "*.model")
_MARK = codecs.BOM_UTF8


@contextmanager
def readable_tokenizer(folder: Path) -> Iterator[Path]:
    """``folder``, or a copy of its small files where a JSON file begins with a byte order mark.

    Neither transformers nor tokenizers pass over the mark.

    Raises:
        CheckpointError: a file is a pointer of Git LFS.
    """
    files = [file for pattern in _PATTERNS for file in sorted(folder.glob(pattern)) if file.is_file()]
    for file in files:
        refuse_pointer(file)
    if not any(map(_is_marked, files)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        for file in files:
            copy = Path(shutil.copyfile(file, Path(made) / file.name))
            if _is_marked(copy):
                copy.write_bytes(copy.read_bytes().removeprefix(_MARK))
        yield Path(made)


def _is_marked(file: Path) -> bool:
    with file.open("rb") as stream:
        return file.suffix == ".json" and stream.read(len(_MARK)) == _MARK
