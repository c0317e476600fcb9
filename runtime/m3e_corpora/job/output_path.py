"""The path of an output, and what it says about the form of the output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from m3e_corpora.arrow import import_arrow
from m3e_corpora.faiss_package import import_faiss
from m3e_corpora.job.folder import JobFolder, is_free
from m3e_runtime.errors import OptionError

__all__ = ["STANDARD_OUTPUT", "OutputPath"]

STANDARD_OUTPUT = "-"

_PART_FORMATS = {".npy": "npy", ".parquet": "parquet", ".jsonl": "jsonl", ".faiss": "npy"}


@dataclass(frozen=True)
class OutputPath:
    """Where the output goes.

    Attributes:
        kind: standard output, a folder of parts, or a file.
        path: the folder or file.
        part_format: format of the parts.
    """

    kind: Literal["stream", "folder", "file"]
    path: Path
    part_format: str

    @staticmethod
    def of(output: str) -> OutputPath:
        """Parse the name of an output.

        Raises:
            OptionError: the suffix is unknown.
        """
        if output == STANDARD_OUTPUT:
            return OutputPath("stream", Path(output), "jsonl")
        if output.endswith(("/", os.sep)):
            return OutputPath("folder", Path(output), "parquet")
        suffix = Path(output).suffix.lower()
        if suffix not in _PART_FORMATS:
            raise OptionError(
                f"{output}: unknown suffix; use one of {', '.join(_PART_FORMATS)}, a name that ends with / "
                "for a folder of Parquet parts, or - for JSON Lines on standard output."
            )
        return OutputPath("file", Path(output), _PART_FORMATS[suffix])

    @property
    def suffix(self) -> str:
        """Suffix of a file, in lower case."""
        return self.path.suffix.lower()

    @property
    def parts(self) -> Path:
        """Folder of the parts: the output itself, or a temporary folder beside a file."""
        return self.path if self.kind == "folder" else self.path.with_name(f"{self.path.name}.parts")

    @property
    def rejected(self) -> Path:
        """File that lists the bad rows of an output that is a file."""
        return self.path.with_name(f"{self.path.name}.rejected.jsonl")

    @property
    def files(self) -> tuple[Path, ...]:
        """All files and folders of the output, including temporary ones."""
        return () if self.kind == "stream" else (self.path, self.parts, self.rejected)

    def check(self, resume: bool, force: bool) -> None:
        """Check that the output can be written.

        Raises:
            OptionError: the output exists, its folder does not, or ``resume`` cannot be used with it.
            DependencyMissingError: a package that the output needs is not installed.
        """
        if self.kind == "stream":
            if resume:
                raise OptionError("--resume needs an output that is a file or a folder.")
            return
        if not self.path.absolute().parent.is_dir():
            raise OptionError(f"{self.path}: the folder {self.path.parent} does not exist; create it first.")
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
                f"{self.path}: was begun before; add --resume to continue, or --force to start again."
            )
        if self.kind == "file" and os.path.lexists(self.path) and not force and not (begun and resume):
            raise OptionError(
                f"{self.path}: exists; add --force to replace it, or choose another file with -o."
            )
        if not begun and os.path.lexists(self.parts) and not is_free(self.parts):
            raise OptionError(
                f"{self.parts}: exists, and is not from an encoding; choose another output with -o."
            )
