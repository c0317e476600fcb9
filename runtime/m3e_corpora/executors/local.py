"""The executor that computes in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from m3e_corpora.encoding.partitions import run_partitions
from m3e_corpora.encoding.tokens import Model
from m3e_corpora.executors.base import EncodingSpec
from m3e_corpora.job.counts import Counts
from m3e_corpora.job.folder import JobFolder, PartRecord
from m3e_corpora.job.job import BundleId
from m3e_corpora.job.partition import Partition
from m3e_corpora.job.request import CorpusRequest
from m3e_corpora.outputs.others import OTHERS
from m3e_corpora.outputs.vectors import VectorSpec, ranges_to_text
from m3e_runtime.arguments import check_batch_size
from m3e_runtime.bundle import Bundle
from m3e_runtime.chunking import ChunkOptions, ChunkTokenizer
from m3e_runtime.encoder import Encoder
from m3e_runtime.errors import OptionError
from m3e_runtime.late_interaction import Task
from m3e_runtime.reranker import Reranker
from m3e_runtime.threads import available_threads

__all__ = ["LocalExecutor", "describe_encoding", "load_encoder"]

_GPU_CALLERS = 2
"""Threads that call an engine on a GPU: one prepares a batch while the other's is computed."""


class LocalExecutor:
    """Computes in this process; see :class:`m3e_corpora.executors.base.Executor`."""

    def __init__(self, request: CorpusRequest) -> None:
        self._request = request
        self.encoder, self.workers = load_encoder(request, request.artifact)

    def describe(self) -> EncodingSpec:
        """See :class:`m3e_corpora.executors.base.Executor`."""
        return describe_encoding(self.encoder, self._request)

    def run(
        self,
        folder: JobFolder,
        partitions: Sequence[Partition],
        on_progress: Callable[[int, Counts], None],
        on_done: Callable[[PartRecord], None],
    ) -> None:
        """See :class:`m3e_corpora.executors.base.Executor`."""
        for record in run_partitions(
            self.encoder,
            self.workers,
            folder,
            partitions,
            self._request.on_error,
            lambda window: on_progress(window.size, window.counts),
        ):
            on_done(record)

    def close(self) -> None:
        """Close the encoder."""
        self.encoder.close()


def load_encoder(request: CorpusRequest, artifact: str | None) -> tuple[Model, int]:
    """Load an encoder or a reranker; return it and the number of threads to call it from.

    On a CPU each caller computes its own batches in one thread. Threads that share a batch would wait for
    each other whenever the system interrupts one of them.
    """
    threads = request.threads or available_threads()
    if request.threads is not None and request.threads < 1:
        raise OptionError(f"threads={request.threads}: at least one thread is needed.")
    scores = Bundle.open(request.bundle).manifest.classification is not None
    kind = Reranker if scores else Encoder
    encoder = kind.load(request.bundle, device=request.device, artifact=artifact, threads=1)
    return encoder, threads if encoder.info["device"] == "cpu" else _GPU_CALLERS


def describe_encoding(encoder: Model, request: CorpusRequest) -> EncodingSpec:
    """Describe what ``encoder`` computes for a request.

    Raises:
        OptionError: an option cannot be used with this bundle.
    """
    request.for_model(encoder.bundle.manifest.classification)  # which may be known here only
    if isinstance(encoder, Reranker):
        return _describe_scoring(encoder, request)
    if not encoder.bundle.manifest.gives_dense:
        return _describe_tokens(encoder, request)
    ranges = request.ranges
    asked = encoder.output_options(request.truncate_dim, request.normalize, request.precision, ranges)
    check_batch_size(request.batch_size)
    dimension = asked.truncate_dim
    if ranges is not None and ranges.shape != (2, dimension):
        raise OptionError(f"ranges must have shape (2, {dimension}), not {ranges.shape}.")
    encoder.wanted_outputs(("dense", *request.also))
    task = _task(encoder, request)
    prompt = _prompt(encoder, request, task)
    if request.over_long == "chunk":
        ChunkTokenizer(encoder, request.chunking or ChunkOptions()).check_prompt(prompt)
    return EncodingSpec(
        BundleId.of(encoder.bundle, encoder.artifact.name),
        VectorSpec(
            dimension,
            asked.precision,
            asked.normalize,
            None if ranges is None else ranges_to_text(ranges),
            others=tuple(name for name in OTHERS if name in request.also),
        ),
        prompt,
        task,
    )


def _describe_tokens(encoder: Encoder, request: CorpusRequest) -> EncodingSpec:
    """Describe the encoding by a model without vectors of texts. By default all of its outputs are stored."""
    request.check_tokens_only()
    check_batch_size(request.batch_size)
    names = request.also or encoder.given_outputs()
    encoder.wanted_outputs(names)
    others, task = tuple(name for name in OTHERS if name in names), _task(encoder, request)
    return EncodingSpec(
        BundleId.of(encoder.bundle, encoder.artifact.name),
        VectorSpec(encoder.full_dimension, request.precision, False, others=others, dense=False),
        _prompt(encoder, request, task),
        task,
    )


def _task(encoder: Encoder, request: CorpusRequest) -> Task | None:
    """The task of the texts. Models that encode queries differently get documents by default."""
    given = encoder.bundle.manifest.multi_vector
    if request.task is None and given is not None and given.document is not None:
        return "document"
    return request.task


def _prompt(encoder: Encoder, request: CorpusRequest, task: Task | None) -> str:
    if request.prompt_field:
        return ""
    name = encoder.prompt_name_of(task, request.prompt_name, request.prompt)
    return encoder.prefix(name, request.prompt)


def _describe_scoring(reranker: Reranker, request: CorpusRequest) -> EncodingSpec:
    if request.query_field is None and len(reranker.labels) == 1:
        raise OptionError(
            "this bundle scores pairs of texts; name the column of the queries, --query-field query."
        )
    activation = request.activation or reranker.classification.activation
    reranker.activation(activation)
    check_batch_size(request.batch_size)
    return EncodingSpec(
        BundleId.of(reranker.bundle, reranker.artifact.name),
        VectorSpec(len(reranker.labels), request.precision, False, activation=activation),
        reranker.prefix(request.prompt_name, request.prompt),
    )
