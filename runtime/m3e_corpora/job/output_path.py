"""Where an output goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from m3e_corpora.arrow import import_arrow
from m3e_corpora.faiss_package import import_faiss
from m3e_corpora.job.folder import JobFolder, is_free
from m3e_runtime.errors import OptionError

__all__ = ["STANDARD_OUTPUT", "Target"]

STANDARD_OUTPUT = "-"

_PARTS = {".npy": "npy", ".parquet": "parquet", ".jsonl": "jsonl", ".faiss": "npy"}


@dataclass(frozen=True)
class Target:
    """Where an output goes: ``kind`` is what it is in the end, ``parts`` the folder of its parts."""

    kind: Literal["stream", "folder", "file"]
    path: Path
    part_format: str

    @staticmethod
    def of(output: str) -> Target:
        """The target that ``output`` names.

        Raises:
            OptionError: an unknown suffix.
        """
        if output == STANDARD_OUTPUT:
            return Target("stream", Path(output), "jsonl")
        if output.endswith(("/", os.sep)):
            return Target("folder", Path(output), "parquet")
        suffix = Path(output).suffix.lower()
        if suffix not in _PARTS:
            raise OptionError(
                f"{output}: unknown suffix; use one of {', '.join(_PARTS)}, end it with / for a folder of "
                "Parquet parts, or give - for JSON Lines."
            )
        return Target("file", Path(output), _PARTS[suffix])

    @property
    def suffix(self) -> str:
        """Of a file, in lower case."""
        return self.path.suffix.lower()

    @property
    def parts(self) -> Path:
        """The folder of the parts: the output itself, or one beside a file until that is complete."""
        return self.path if self.kind == "folder" else self.path.with_name(f"{self.path.name}.parts")

    @property
    def rejected(self) -> Path:
        """Where the bad rows of a file are listed."""
        return self.path.with_name(f"{self.path.name}.rejected.jsonl")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that an output consists of, or may consist of for a time."""
        return () if self.kind == "stream" else (self.path, self.parts, self.rejected)

    def check(self, resume: bool, force: bool) -> None:
        """See :meth:`CorpusRequest.check`."""
        if self.kind == "stream":
            if resume:
                raise OptionError("--resume needs an output that is a file or a folder.")
            return
        if not self.path.absolute().parent.is_dir():
            raise OptionError(f"{self.path}: there is no folder {self.path.parent}; make it first.")
        if self.kind == "file" and self.path.is_dir():
            raise OptionError(f"{self.path}: is a folder; end it with / for Parquet parts, or name a file.")
        if self.part_format == "parquet":
            import_arrow("Parquet", "parquet")
        if self.suffix == ".faiss":
            import_faiss()
        self._check_free(resume, force)

    def _check_free(self, resume: bool, force: bool) -> None:
        begun = JobFolder.exists(self.parts)
        if begun and not resume and not force:
            raise OptionError(
                f"{self.path}: was begun before; add --resume to go on, or --force to begin anew."
            )
        if self.kind == "file" and os.path.lexists(self.path) and not force and not (begun and resume):
            raise OptionError(
                f"{self.path}: exists; add --force to replace it, or choose another file with -o."
            )
        if not begun and os.path.lexists(self.parts) and not is_free(self.parts):
            raise OptionError(f"{self.parts}: is there, and not from an encoding; choose another output.")
