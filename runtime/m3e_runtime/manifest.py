"""Schema of a bundle's ``manifest.json``.

The manifest is the only contract between the exporter and the runtime. It is plain data: decoding it
is strict (unknown types and missing fields are errors) and never runs code.
"""

from __future__ import annotations

import base64
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = [
    "MANIFEST_NAME",
    "MAX_SIM_TOKENS",
    "SCHEMA_VERSION",
    "SIMILARITIES",
    "Activation",
    "Artifact",
    "Classification",
    "Fidelity",
    "FileEntry",
    "GateThresholds",
    "GoldenTokens",
    "GoldenVectors",
    "Manifest",
    "MultiVectorFidelity",
    "MultiVectorOutput",
    "QueryExpansion",
    "Route",
    "ScoreFidelity",
    "ScoreThresholds",
    "Similarity",
    "Source",
    "SparseFidelity",
    "SparseOutput",
    "TaskSettings",
    "TokenFidelity",
    "TokenOutputs",
    "TokenThresholds",
    "Tokenization",
]

Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
SIMILARITIES: tuple[str, ...] = get_args(Similarity)

MANIFEST_NAME = "manifest.json"
MAX_SIM_TOKENS = 64
"""Vectors of a text in the MaxSim scores of the gate and of the golden texts; further ones are left out."""

SCHEMA_VERSION = 1

Precision = Literal["fp32", "fp16", "int8"]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle: POSIX path relative to the folder, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class GateThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lower bounds for an artifact's fidelity. Zero means no bound."""

    mean_cosine: float = 0.0
    p1_cosine: float = 0.0
    min_cosine: float = 0.0
    overlap_at_10: float = 0.0


class Fidelity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How close an artifact's vectors are to the oracle's, measured on ``texts`` texts.

    Cosines are between the two vectors of the same text; ``overlap_at_10`` is the mean share of common
    texts among the ten nearest neighbours; ``spearman`` ranks the similarities of all pairs. ``of`` says what
    was run: the artifact, or, for an engine, the graph that it was built from.
    """

    oracle: str
    texts: int
    mean_cosine: float
    p1_cosine: float
    min_cosine: float
    max_abs_difference: float
    overlap_at_10: float
    spearman: float
    thresholds: GateThresholds
    enforced: bool
    of: Literal["artifact", "graph"] = "artifact"


class ScoreThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds for an artifact's scores: ``max_difference`` from above, the others from below.

    None, or zero below, means no bound.
    """

    max_difference: float | None = None
    order_kept: float = 0.0
    ndcg_at_10: float = 0.0


class ScoreFidelity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How close an artifact's logits are to the oracle's, measured on ``pairs`` pairs of ``groups`` queries.

    ``mean_difference`` and ``max_difference`` are of the logits' absolute differences. ``order_kept`` is the
    share of pairs of passages of one query whose order is the oracle's. ``ndcg_at_10`` compares the order of
    each query's passages with the oracle's; 1 is the same. For a model of several labels, ``order_kept`` is
    the share of texts with the same most likely label, and ``ndcg_at_10`` is 1.
    """

    oracle: str
    groups: int
    pairs: int
    mean_difference: float
    max_difference: float
    order_kept: float
    ndcg_at_10: float
    thresholds: ScoreThresholds
    enforced: bool
    of: Literal["artifact", "graph"] = "artifact"


class TokenThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lower bounds for the sparse and the multi-vector output of an artifact. Zero means no bound."""

    sparse_cosine: float = 0.0
    top_100: float = 0.0
    order_kept: float = 0.0


class SparseFidelity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How close an artifact's sparse vectors are to the oracle's.

    Cosines are between the two vectors of the same text. ``top_100`` is the mean share of common token ids
    among the hundred with the largest weights.
    """

    mean_cosine: float
    min_cosine: float
    top_100: float


class MultiVectorFidelity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How close the scores of an artifact's multi-vectors are to the oracle's.

    The scores are MaxSim of each text, as a query, with each other, from their first
    :data:`MAX_SIM_TOKENS` vectors. ``order_kept`` is the share of pairs of
    texts whose order by their score for a query is the oracle's. ``max_difference`` is the largest absolute
    difference of a score.
    """

    order_kept: float
    max_difference: float


class TokenFidelity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How close an artifact's outputs of tokens are to the oracle's, measured on ``texts`` texts.

    ``sparse`` or ``multi_vector`` is None if the model does not have that output.
    """

    texts: int
    sparse: SparseFidelity | None
    multi_vector: MultiVectorFidelity | None
    thresholds: TokenThresholds


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One runnable form of the model.

    ``files[0]`` is the entry point; further files are its external weights. ``dialect`` says which operators
    a graph is written in, and is absent for native weights. ``requires`` names what the engine must offer
    (``onnxruntime``: minimum version; ``native``: version of the weights' layout; ``tensorrt`` and
    ``tensorrt_rtx``: the version that built the engine, with ``compute_capabilities``). An engine is followed
    by the graph that it was built from, to build it again elsewhere. ``layout`` says how its inputs hold
    texts of unequal length, as in :mod:`m3e_runtime.gpu.batch_shapes`. ``mix`` maps a matrix format to how
    many matrices use it, ``kept`` lists the matrices held above the artifact's own precision. ``fidelity`` is
    that of vectors, ``score_fidelity`` that of scores; an artifact has the one that fits its bundle.
    ``token_fidelity`` is there for artifacts that give the bundle's ``token_outputs``.
    """

    name: str
    format: Literal["onnx", "native", "tensorrt"]
    dialect: Literal["onnxruntime", "standard", "tensorrt"] | None
    precision: Precision
    target: str
    batch_invariant: bool
    requires: dict[str, str]
    files: tuple[FileEntry, ...]
    fidelity: Fidelity | None = None
    score_fidelity: ScoreFidelity | None = None
    layout: Literal["padded", "packed"] = "padded"
    mix: dict[str, int] = {}
    kept: tuple[str, ...] = ()
    token_fidelity: TokenFidelity | None = None

    @property
    def vector_fidelity(self) -> Fidelity:
        """``fidelity``, for artifacts that are known to give vectors of texts.

        Raises:
            ValueError: the artifact gives scores.
        """
        if self.fidelity is None:
            raise ValueError(f"{self.name} gives scores, not vectors of texts")
        return self.fidelity


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights came from: the id the user gave and the SHA-256 over the weight files.

    ``hub`` and ``revision`` say which hub the id belongs to and which revision was downloaded: the commit on
    the Hugging Face hub, the branch, tag or commit that was asked for on ModelScope. Both are absent for a
    local folder.
    """

    id: str
    weights_sha256: str
    model_type: str
    hub: str | None = None
    revision: str | None = None


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which route of a model with a Router the bundle holds.

    ``tasks`` maps each task that the model knows to the name of its route, those of other bundles included.
    ``default`` is the route of texts without a task.
    """

    name: str
    tasks: dict[str, str]
    default: str | None = None


class Tokenization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How text becomes token ids; ``max_length`` counts special tokens."""

    file: FileEntry
    max_length: int
    pad_token_id: int


Activation = Literal["identity", "sigmoid"]


class Classification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the outputs of a reranker or classifier mean: one logit for each of ``labels``, in this order.

    ``activation`` is what CrossEncoder applies to the logits by default. ``token_types`` says whether the
    artifacts take a token type for each token, as BERT does to tell the two texts of a pair apart.
    """

    labels: tuple[str, ...]
    activation: Activation
    token_types: bool


class SparseOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weight for each token. A sparse vector has the largest weight of each token id.

    ``left_out`` are ids of special tokens, which no sparse vector has. ``most_terms`` is how many of its
    largest weights a vector keeps; None: all.
    """

    left_out: tuple[int, ...]
    most_terms: int | None = None


class QueryExpansion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens ``token_id`` after a query, up to ``length`` tokens in all. They get vectors like all tokens.

    ``attended`` says whether tokens attend to them. If not, only they attend to the query's.
    """

    token_id: int
    length: int
    attended: bool


class TaskSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How queries, or documents, become multi-vectors.

    ``max_length`` is the longest text in tokens, special ones and those of the prompt included. Tokens whose
    ids are ``skipped`` get no vector.
    """

    max_length: int
    skipped: tuple[int, ...] = ()
    expansion: QueryExpansion | None = None


class MultiVectorOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vector of ``dimension`` numbers for each token but the first ``left_out``.

    ``query`` and ``document`` are there for models such as ColBERT, which encode the two differently. Texts
    that are neither have the longest text of :class:`Tokenization`, and the ``skipped`` tokens of a document.
    """

    dimension: int
    left_out: int
    query: TaskSettings | None = None
    document: TaskSettings | None = None


class TokenOutputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model gives beside the vector of a text, as bge-m3 does.

    The artifacts with a ``token_fidelity`` give it. If ``dense`` is false, the model has no vector of a text:
    that of an artifact is the mean of its tokens' states. It is measured, and has no thresholds.
    """

    sparse: SparseOutput | None = None
    multi_vector: MultiVectorOutput | None = None
    dense: bool = True


class GoldenTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The oracle's outputs of tokens for the golden texts.

    ``sparse`` maps token ids, in decimal, to weights, for each text. ``max_sim`` has the MaxSim of each text,
    as a query, with each text, from their first :data:`MAX_SIM_TOKENS` vectors. Each is empty if the model
    does not have that output.
    """

    sparse: tuple[dict[str, float], ...] = ()
    max_sim: tuple[tuple[float, ...], ...] = ()


class GoldenVectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts with the oracle's vectors: base64 of little-endian float32 ``[len(texts), dimension]``.

    ``prompt`` precedes each text. It is not empty if the pooling excludes prompts. In a bundle with a
    :class:`Classification`, the vectors are logits. If ``passages`` is not empty, they are those of the pairs
    of a text (the query) and a passage. ``tokens`` is there in a bundle with :class:`TokenOutputs`.
    """

    texts: tuple[str, ...]
    vectors: str
    prompt: str = ""
    passages: tuple[str, ...] = ()
    tokens: GoldenTokens | None = None

    @staticmethod
    def pack(
        texts: tuple[str, ...],
        vectors: npt.NDArray[np.float32],
        prompt: str = "",
        passages: tuple[str, ...] = (),
        tokens: GoldenTokens | None = None,
    ) -> GoldenVectors:
        """Store ``vectors`` (float32 ``[len(texts), dimension]``)."""
        data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        return GoldenVectors(texts, base64.b64encode(data).decode("ascii"), prompt, passages, tokens)

    def unpack(self, dimension: int) -> npt.NDArray[np.float32]:
        """Return the vectors as float32 ``[len(texts), dimension]``.

        Raises:
            ValueError: the stored bytes are not of that shape.
        """
        data = base64.b64decode(self.vectors, validate=True)
        return np.frombuffer(data, dtype="<f4").reshape(len(self.texts), dimension)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of ``manifest.json``.

    ``dimension`` is the length of the artifacts' vectors. ``truncate_dim`` is the default number of
    dimensions that are kept; None: all. ``pooling`` is informative, such as ``mean``, ``max+mean`` or
    ``first_last_mean``: the artifacts compute it. ``include_prompt`` says whether a prompt's tokens are
    pooled. If not, an artifact takes the number of the prompt's tokens as an input. ``classification`` is
    there for rerankers and classifiers: ``dimension`` is their number of labels. ``token_outputs`` is there
    if the model gives sparse vectors or multi-vectors beside the vector of a text.
    """

    schema_version: int
    exporter: str
    source: Source
    licence: str
    dimension: int
    pooling: str
    normalize: bool
    tokenization: Tokenization
    similarity: Similarity
    prompts: dict[str, str]
    default_prompt_name: str | None
    artifacts: tuple[Artifact, ...]
    golden: GoldenVectors
    files: tuple[FileEntry, ...] = ()
    include_prompt: bool = True
    route: Route | None = None
    truncate_dim: int | None = None
    classification: Classification | None = None
    token_outputs: TokenOutputs | None = None

    @property
    def gives_dense(self) -> bool:
        """Whether the model has a vector of a text."""
        return self.token_outputs is None or self.token_outputs.dense

    @property
    def multi_vector(self) -> MultiVectorOutput | None:
        """The multi-vector output of the model, if it has one."""
        return None if self.token_outputs is None else self.token_outputs.multi_vector

    @property
    def output_dimension(self) -> int:
        """The default number of dimensions that are kept, also in the golden vectors."""
        return self.truncate_dim or self.dimension

    def to_json(self) -> bytes:
        """Encode with stable key order and indentation, so that equal manifests give equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=2) + b"\n"


def decode(data: bytes) -> Manifest:
    """Decode and validate a manifest.

    Raises:
        msgspec.DecodeError: not JSON, or not of this schema (msgspec.ValidationError is a subclass).
    """
    return msgspec.json.decode(data, type=Manifest, strict=True)


def schema() -> dict[str, Any]:
    """JSON Schema of the manifest, for tools in other languages."""
    return msgspec.json.schema(Manifest)
