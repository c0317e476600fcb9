"""What is asked for: field by field the options of ``m3e-encode``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_corpora.faiss_package import DEFAULT_INDEX
from m3e_corpora.inputs.columns import DEFAULT_FIELD, Form, Reading
from m3e_corpora.inputs.encodings import UTF_8, encoding_of
from m3e_corpora.inputs.find import STANDARD_INPUT, InputFile
from m3e_corpora.inputs.folder_columns import folder_types
from m3e_corpora.job.output_path import Target
from m3e_corpora.job.policies import OnError, OverLong
from m3e_corpora.outputs.sinks.parquet import EMBEDDING
from m3e_runtime.errors import OptionError
from m3e_runtime.outputs import OutputPrecision

__all__ = ["PARTITION_BYTES", "CorpusRequest"]

PARTITION_BYTES = 8 << 20
"""Bytes of text in a partition: a minute or a few of one core. See docs/scale.md."""

_FORMS: dict[str, Form] = {"npy": "nothing", "jsonl": "records", "parquet": "columns"}
_RANGED = ("int8", "uint8")


@dataclass(frozen=True)
class CorpusRequest:
    """A corpus to encode.

    Args:
        bundle: the bundle's folder.
        inputs: files, folders, patterns or URIs; see :func:`m3e_corpora.inputs.find.find_inputs`.
        output: a file that ends in .npy, .parquet, .jsonl or .faiss, a folder of Parquet parts if it ends
            with a slash, or ``-`` for JSON Lines on standard output.
        format: of the inputs, by default what their suffixes say.
        encoding: of text, CSV and JSON Lines, UTF-8 by default; a superset of ASCII, e.g. ``gb18030``.
        field: the column of the texts, ``text`` by default. ``doc.body`` is a field inside of another.
        keep: columns to keep beside the vectors, also such that only the folders of the inputs name, as in
            ``lang=zh/part-0.parquet``. By default objects of JSON Lines are kept whole in .jsonl.
        drop_text: do not store the texts.
        on_error: ``fail`` at the first row that cannot be encoded, or ``skip`` and report them.
        over_long: what to do with texts of more tokens than the model takes.
        precision: as in :meth:`m3e_runtime.Encoder.encode`, like the next five.
        ranges: see ``precision``; needed for int8 and uint8.
        normalize: see ``precision``.
        truncate_dim: see ``precision``.
        prompt_name: see ``precision``.
        prompt_field: the column where each text has a prompt of its own.
        prompt: see ``precision``.
        artifact: as in :meth:`m3e_runtime.Encoder.load`, like the next two.
        device: see ``artifact``.
        threads: see ``artifact``.
        batch_size: most texts in one run of the engine.
        index: what a .faiss file holds, in the words of ``faiss.index_factory``.
        partition_bytes: about how many bytes of text are done as one, and lost at most when a process dies.
        resume: go on with what was begun, if anything was.
        force: replace an output that exists, and forget what was begun.
        show_progress: True always, False never, None on a terminal.
    """

    bundle: str | Path
    inputs: tuple[str, ...]
    output: str
    format: str | None = None
    encoding: str | None = None
    field: str | None = None
    keep: tuple[str, ...] | None = None
    drop_text: bool = False
    on_error: OnError = "fail"
    over_long: OverLong = "truncate"
    precision: OutputPrecision = "float32"
    ranges: npt.NDArray[np.float32] | None = None
    normalize: bool = False
    truncate_dim: int | None = None
    prompt_name: str | None = None
    prompt_field: str | None = None
    prompt: str | None = None
    artifact: str | None = None
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    index: str = DEFAULT_INDEX
    partition_bytes: int = PARTITION_BYTES
    resume: bool = False
    force: bool = False
    show_progress: bool | None = None

    def reading(self, part_format: str, inputs: Sequence[InputFile] = ()) -> Reading:
        """What is taken from the inputs for parts of a format.

        Raises:
            OptionError: an encoding that cannot be used.
            UnreadableInputError: a column that folders name has a value that is not UTF-8.
        """
        reading = Reading(
            self.field or DEFAULT_FIELD,
            self.prompt_field,
            self.keep,
            self.drop_text,
            _FORMS[part_format],
            encoding_of(self.encoding or UTF_8),
        )
        return msgspec.structs.replace(reading, folder_types=folder_types(inputs, reading.columns))

    def check(self) -> Target:
        """Find out before any work what can be wrong with the options alone; returns where the output goes.

        Raises:
            OptionError: options that do not go together, an unknown suffix, no such folder, or it exists.
            EngineMissingError: a package that the output needs is not installed.
        """
        target = Target.of(self.output)
        encoding_of(self.encoding or UTF_8)
        if self.resume and self.force:
            raise OptionError(
                "--resume goes on with what was begun and --force forgets it; give one of them."
            )
        if self.resume and STANDARD_INPUT in self.inputs:
            raise OptionError("standard input cannot be read again, so --resume needs a file.")
        if self.partition_bytes < 1:
            raise OptionError(f"partition size {self.partition_bytes}: at least one byte must fit.")
        if target.part_format == "parquet" and EMBEDDING in self.reading("parquet").wanted:
            raise OptionError(
                f"a column {EMBEDDING!r} cannot be kept beside the vectors', which is called so."
            )
        if target.part_format == "npy" and self.keep:
            raise OptionError(
                f"{self.output}: has no place for columns; write .parquet or .jsonl to keep any."
            )
        if self.prompt_field is not None and (self.prompt, self.prompt_name) != (None, None):
            raise OptionError(
                "--prompt-field gives each text a prompt; leave out --prompt and --prompt-name."
            )
        self._check_ranges()
        target.check(self.resume, self.force)
        return target

    def _check_ranges(self) -> None:
        if self.precision in _RANGED and self.ranges is None:
            raise OptionError(
                f"--precision {self.precision} needs --ranges FILE.npy, float32 [2, dimension]: the minimum "
                "and the maximum of each dimension, e.g. of the float32 vectors of a sample."
            )
        if self.precision not in _RANGED and self.ranges is not None:
            raise OptionError(
                f"--ranges is for {' and '.join(_RANGED)}, not for --precision {self.precision}."
            )
