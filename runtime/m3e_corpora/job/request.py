"""A request to encode a corpus: the options of ``m3e-encode``, field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from m3e_corpora.faiss_package import DEFAULT_INDEX
from m3e_corpora.inputs.columns import DEFAULT_FIELD, Columns, PayloadForm
from m3e_corpora.inputs.encodings import UTF_8, encoding_of
from m3e_corpora.inputs.find import FORMATS, STANDARD_INPUT, InputFile
from m3e_corpora.inputs.folder_columns import folder_types
from m3e_corpora.inputs.rows import CHUNK_COLUMNS
from m3e_corpora.job.output_path import OutputPath
from m3e_corpora.job.policies import OnError, OverLong
from m3e_corpora.outputs.others import OTHERS, OtherOutput
from m3e_corpora.outputs.vectors import EMBEDDING, SCORE, SCORES
from m3e_runtime.chunking import ChunkOptions, check_chunk_options
from m3e_runtime.errors import OptionError
from m3e_runtime.late_interaction import Task
from m3e_runtime.manifest import Classification
from m3e_runtime.outputs import OutputPrecision

__all__ = ["DEFAULT_FIELD", "DEFAULT_INDEX", "FORMATS", "OTHERS", "PARTITION_BYTES", "CorpusRequest"]

PARTITION_BYTES = 8 << 20
"""Bytes of text in a partition: one to a few minutes of one core. See docs/scale.md."""

_QUERY_FIELD = "query"

_FORMS: dict[str, PayloadForm] = {"npy": "none", "jsonl": "records", "parquet": "columns"}
_RANGED = ("int8", "uint8")


@dataclass(frozen=True)
class CorpusRequest:
    """A corpus to encode.

    Args:
        bundle: folder of the bundle.
        inputs: files, folders, patterns or URIs; see :func:`m3e_corpora.inputs.find.find_inputs`.
        output: a file that ends in .npy, .parquet, .jsonl or .faiss, a folder of Parquet parts if it ends
            with a slash, or ``-`` for JSON Lines on standard output.
        format: format of the inputs, by default from their suffixes.
        encoding: encoding of text, CSV and JSON Lines, by default UTF-8. It must be a superset of ASCII, such
            as ``gb18030``.
        field: column of the texts, by default ``text``. ``doc.body`` is the field ``body`` in ``doc``.
        keep: columns to store beside the vectors. They may be named by folders only, as in
            ``lang=zh/part-0.parquet``. By default JSON Lines to .jsonl keeps whole objects, and other
            combinations keep nothing.
        drop_text: do not store the texts.
        on_error: ``fail`` at the first row that cannot be encoded, or ``skip`` such rows and list them.
        over_long: what to do with texts that have more tokens than the model's limit. With ``chunk``, each
            chunk is a row, with the columns ``chunk`` (its number), ``start`` and ``end`` (its place in the
            text, in characters); the column of the texts has the chunk's own text.
        chunking: the length of chunks, their overlap, and whether chunking is late. By default they are as
            long as the model takes, and do not overlap.
        precision: as in :meth:`m3e_runtime.Encoder.encode`.
        ranges: as in :meth:`m3e_runtime.Encoder.encode`; needed for int8 and uint8.
        normalize: scale each vector to unit length.
        truncate_dim: as in :meth:`m3e_runtime.Encoder.encode`.
        also: outputs to store beside the dense vectors, in columns of their names: ``sparse`` and
            ``multi_vector``, for models that give them.
        task: as in :meth:`m3e_runtime.Encoder.encode_outputs`, by default ``document`` for models that encode
            queries and documents differently.
        prompt_name: as in :meth:`m3e_runtime.Encoder.encode`.
        prompt_field: column of each text's own prompt.
        prompt: as in :meth:`m3e_runtime.Encoder.encode`.
        query_field: for rerankers and classifiers of pairs: column of the queries, with which the texts are
            scored. By default ``query`` for models of one label; models of several labels score single texts.
        activation: for rerankers and classifiers: ``identity``, ``sigmoid`` or ``softmax``, by default the
            checkpoint's.
        artifact: as in :meth:`m3e_runtime.Encoder.load`.
        device: as in :meth:`m3e_runtime.Encoder.load`.
        threads: as in :meth:`m3e_runtime.Encoder.load`.
        batch_size: largest number of texts in a batch.
        index: description of a .faiss index, as ``faiss.index_factory`` takes it.
        partition_bytes: approximate bytes of text in a partition. Finished partitions survive a stop.
        resume: continue an unfinished job if there is one.
        force: replace an existing output and discard an unfinished job.
        show_progress: True always, False never, None only on a terminal.
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
    chunking: ChunkOptions | None = None
    precision: OutputPrecision = "float32"
    ranges: npt.NDArray[np.float32] | None = None
    normalize: bool = False
    truncate_dim: int | None = None
    also: tuple[OtherOutput, ...] = ()
    task: Task | None = None
    prompt_name: str | None = None
    prompt_field: str | None = None
    prompt: str | None = None
    query_field: str | None = None
    activation: str | None = None
    artifact: str | None = None
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    index: str = DEFAULT_INDEX
    partition_bytes: int = PARTITION_BYTES
    resume: bool = False
    force: bool = False
    show_progress: bool | None = None

    def columns(self, part_format: str, inputs: Sequence[InputFile] = ()) -> Columns:
        """Return the columns to read and to keep for parts of a format.

        Raises:
            OptionError: the encoding cannot be used.
            UnreadableInputError: a folder name has a value that is not UTF-8.
        """
        columns = Columns(
            self.field or DEFAULT_FIELD,
            self.query_field or self.prompt_field,
            self.query_field is not None,
            self._kept(inputs),
            self.drop_text,
            _FORMS[part_format],
            encoding_of(self.encoding or UTF_8),
            reserved=CHUNK_COLUMNS if self.over_long == "chunk" else (),
        )
        return msgspec.structs.replace(columns, folder_types=folder_types(inputs, columns.kept))

    def _kept(self, inputs: Sequence[InputFile]) -> tuple[str, ...] | None:
        """Columns to keep: queries are stored as texts are, unless whole objects are kept."""
        whole = self.keep is None and all(file.format == "jsonl" for file in inputs)
        if self.query_field is None or self.drop_text or whole:
            return self.keep
        return (self.query_field, *(self.keep or ()))

    def for_model(self, classification: Classification | None) -> CorpusRequest:
        """This request for a model of that kind, whose queries are in the column ``query`` by default.

        Raises:
            OptionError: an option is for models of another kind.
        """
        if classification is None:
            if self.query_field is not None or self.activation is not None:
                raise OptionError(
                    "--query-field and --activation are for rerankers and classifiers; this bundle gives "
                    "vectors of texts."
                )
            return self
        if given := [option for option, value in self._of_vectors().items() if value]:
            raise OptionError(f"{given[0]} is for vectors of texts; this bundle gives scores.")
        if self.query_field is None and len(classification.labels) == 1:
            return dataclasses.replace(self, query_field=_QUERY_FIELD)
        return self

    def check_tokens_only(self) -> None:
        """Check the options for a model that gives outputs of tokens, and no vectors of texts.

        Raises:
            OptionError: an option is for vectors of texts.
        """
        options = {
            **self._of_dense(),
            f"--precision {self.precision}": self.precision != "float32",
            "--over-long chunk": self.over_long == "chunk",
            f"the output {self.output}": str(self.output).endswith((".faiss", ".npy")),
        }
        if given := [option for option, value in options.items() if value]:
            raise OptionError(f"{given[0]} is for vectors of texts; this bundle gives outputs of tokens.")

    def _of_dense(self) -> dict[str, bool]:
        return {"--normalize": self.normalize, "--truncate-dim": self.truncate_dim is not None}

    def _of_vectors(self) -> dict[str, bool]:
        """Whether options are given that only encoders have."""
        return {
            **self._of_dense(),
            f"--precision {self.precision}": self.precision not in ("float32", "float16"),
            "--prompt-field": self.prompt_field is not None,
            "--over-long chunk": self.over_long == "chunk",
            "--also": bool(self.also),
            "--task": self.task is not None,
            f"the output {self.output}": str(self.output).endswith(".faiss"),
        }

    def check(self) -> OutputPath:
        """Check the options before any work, and return where the output goes.

        Raises:
            OptionError: options cannot be combined, the suffix is unknown, the folder does not exist, or the
                output exists.
            DependencyMissingError: a package that the output needs is not installed.
        """
        output = OutputPath.of(self.output)
        encoding_of(self.encoding or UTF_8)
        self._check_partitions()
        self._check_columns(output)
        self._check_ranges()
        self._check_chunks(output)
        output.check(self.resume, self.force)
        return output

    def _check_partitions(self) -> None:
        if self.resume and self.force:
            raise OptionError("--resume continues a job and --force discards it; use one of them.")
        if self.resume and STANDARD_INPUT in self.inputs:
            raise OptionError("--resume needs files as inputs: standard input cannot be read twice.")
        if self.partition_bytes < 1:
            raise OptionError(f"partition size {self.partition_bytes}: must be at least one byte.")

    def _check_columns(self, output: OutputPath) -> None:
        if output.part_format == "parquet":
            for name in (SCORE, SCORES) if self.query_field else (EMBEDDING,):
                if name in self.columns("parquet").read:
                    raise OptionError(f"the column {name!r} cannot be kept: the output has this column.")
        self._check_others(output)
        if output.part_format == "npy" and self.keep:
            raise OptionError(f"{self.output}: cannot store columns; use .parquet or .jsonl to keep them.")
        if self.prompt_field is not None and (self.prompt, self.prompt_name) != (None, None):
            raise OptionError(
                "--prompt-field gives each text its own prompt; leave out --prompt and --prompt-name."
            )

    def _check_others(self, output: OutputPath) -> None:
        if unknown := [name for name in self.also if name not in OTHERS]:
            raise OptionError(f"--also {unknown[0]}: known are {', '.join(OTHERS)}.")
        if self.also and output.part_format == "npy":
            raise OptionError(f"{self.output}: cannot store {self.also[0]}; use .parquet or .jsonl.")
        if output.part_format == "parquet":
            kept = [name for name in self.also if name in self.columns("parquet").read]
            if kept:
                raise OptionError(f"the column {kept[0]!r} cannot be kept: an output's column has this name.")

    def _check_chunks(self, output: OutputPath) -> None:
        if self.over_long != "chunk":
            if self.chunking is not None:
                raise OptionError("--chunk-tokens, --chunk-overlap and --chunk-late need --over-long chunk.")
            return
        if self.chunking is not None:
            check_chunk_options(self.chunking)
        if output.part_format == "npy":
            raise OptionError(
                f"{self.output}: cannot store which chunk a vector is of; use .parquet or .jsonl."
            )
        if self.chunking is not None and self.chunking.late and self.also:
            raise OptionError(f"--also {self.also[0]}: late chunking gives dense vectors only.")
        taken = [name for name in self.columns(output.part_format).read if name in CHUNK_COLUMNS]
        if taken:
            raise OptionError(f"the column {taken[0]!r} cannot be kept: chunks have a column of this name.")

    def _check_ranges(self) -> None:
        if self.precision in _RANGED and self.ranges is None:
            raise OptionError(
                f"--precision {self.precision} needs --ranges FILE.npy, float32 [2, dimension]: the minimum "
                "and the maximum of each dimension, for example of the float32 vectors of a sample."
            )
        if self.precision not in _RANGED and self.ranges is not None:
            raise OptionError(
                f"--ranges is for --precision {' and '.join(_RANGED)}, not for {self.precision}."
            )
