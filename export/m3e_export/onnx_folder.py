"""A bundle around an ONNX graph that another tool has exported, such as Optimum or sentence-transformers.

The graph stays as it is, except for what a bundle asks for: its inputs are ``input_ids`` and
``attention_mask``, and it gives ``sentence_embedding``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer

import m3e_runtime
from m3e_export import fidelity
from m3e_export.bundle_writer import entry_of, prepared_folder, write_manifest
from m3e_export.checkpoint import load_checkpoint
from m3e_export.checkpoint.jsonfile import read_object
from m3e_export.checkpoint.layout import SHORTEST, Layout, read_layout
from m3e_export.checkpoint.licence import licence_of
from m3e_export.checkpoint.tokenizer import load_tokenizer, tokenizer_length
from m3e_export.errors import BelowGateError, CheckpointError, OptionError, UnsupportedModelError
from m3e_export.fidelity import Gate
from m3e_export.oracle import load_oracle
from m3e_export.texts import built_in, read_texts
from m3e_runtime.backends.onnx import OnnxRuntimeCpu
from m3e_runtime.bundle import Bundle
from m3e_runtime.manifest import (
    SCHEMA_VERSION,
    Artifact,
    Fidelity,
    GoldenVectors,
    Manifest,
    Source,
    Tokenization,
)
from m3e_runtime.threads import available_threads
from m3e_runtime.tokenization import TextTokenizer, TokenIds

__all__ = ["ITSELF", "from_onnx_folder"]

logger = logging.getLogger(__name__)

ITSELF = "the given graph"
"""The oracle's name where no weights lie beside the graph: its own vectors, of one text at a time."""

_STATES = ("last_hidden_state", "token_embeddings")
_SENTENCE = "sentence_embedding"
_FOLDERS = ("", "onnx")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_OLDEST_OPSET = 13  # the first one where ReduceSum and Unsqueeze take their axes as inputs
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_OFFSET_POSITIONS = ("camembert", "mpnet", "roberta", "xlm-roberta")
_PROTOBUF_LIMIT = 1_800_000_000
_GOLDEN_TEXTS = 16
_LEAST_TOKENS = 1e-9  # what sentence-transformers divides an empty text by

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Given:
    """What the folder says."""

    folder: Path
    file: Path
    layout: Layout
    config: dict[str, Any]
    tokenizer: Tokenizer
    max_length: int
    pooling: str | None
    """What was given by hand."""

    @property
    def model_type(self) -> str:
        """The model's family, as config.json calls it."""
        return str(self.config.get("model_type", "unknown"))

    def token_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        """Token ids as the runtime will find them."""
        copy = Tokenizer.from_str(self.tokenizer.to_str())
        return TextTokenizer.wrap(copy, self.max_length).encode_batch(texts)


def from_onnx_folder(
    folder: str | Path,
    output: str | Path,
    *,
    file: str | None = None,
    pooling: str | None = None,
    max_length: int | None = None,
    gate: str = "default",
    force: bool = False,
) -> Bundle:
    """Make a bundle of the ONNX graph in ``folder``; return it opened.

    The graph gives ``sentence_embedding``, or ``last_hidden_state``, which is then pooled as the files beside
    it say. It is judged by the gate against the original model where its weights lie in the folder too, else
    against itself: a batch has to give the vectors that its texts have alone.

    Args:
        folder: holds config.json, the tokenizer and the graph.
        output: folder of the bundle.
        file: the graph, relative to ``folder``; by default ``model.onnx`` or ``onnx/model.onnx``.
        pooling: ``mean`` or ``cls``, in place of what the folder says.
        max_length: lowers the longest input, in tokens.
        gate: ``default``, ``off``, or a file of texts.
        force: replace the bundle that ``output`` holds.

    Raises:
        BelowGateError: the graph is not faithful enough. Nothing is left behind.
        CheckpointError: a file is missing or broken, or the graph has other inputs or outputs.
        OptionError: an option's value cannot be used.
    """
    given = _read(Path(folder), file, pooling, max_length)
    model = _load(given.file)
    precision = _precision(model.graph)
    dimension = _complete(model, given)
    texts = built_in("gate") if gate in ("default", "off") else read_texts(Path(gate))
    with prepared_folder(Path(output), force) as work:
        files = _save(model, work / "onnx" / "model.onnx")
        judge, measured = _judge(given, files[0], precision, texts, gate != "off")
        artifact = Artifact(
            name=f"{precision}-given",
            format="onnx",
            dialect="onnxruntime" if _domains(model.graph) - {"", "ai.onnx"} else "standard",
            precision=precision,
            target="given",
            batch_invariant=False,
            requires={"onnxruntime": "1.23", "opset": str(_opset(model))},
            files=tuple(entry_of(work, each) for each in files),
            fidelity=measured,
        )
        write_manifest(work, _manifest(given, judge, artifact, dimension, work))
    return Bundle.open(output)


def _read(folder: Path, file: str | None, pooling: str | None, max_length: int | None) -> _Given:
    layout = read_layout(folder, pooling)
    if not layout.include_prompt:
        raise UnsupportedModelError(
            f"{folder}: include_prompt=false is not supported for a given graph; export the checkpoint."
        )
    config = read_object(layout.transformer / "config.json", required=True)
    tokenizer = load_tokenizer(layout.transformer, str(config.get("model_type", "bert")), layout.lower_case)
    longest = _max_length(layout, config)
    if max_length is not None and not SHORTEST <= max_length <= longest:
        raise OptionError(f"max_length={max_length}: the model takes {SHORTEST} to {longest} tokens.")
    return _Given(folder, _find(folder, file), layout, config, tokenizer, max_length or longest, pooling)


def _find(folder: Path, file: str | None) -> Path:
    if file is not None:
        candidates = [folder / file]
    else:
        candidates = [folder / inner / "model.onnx" for inner in _FOLDERS]
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        raise CheckpointError(f"{' and '.join(map(str, candidates))}: no such graph; name it with file=.")
    return found


def _max_length(layout: Layout, config: dict[str, Any]) -> int:
    """What the files say, within the position table where there is one."""
    known = [layout.max_seq_length or tokenizer_length(layout.transformer)]
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id", 1)) + 1
    known.append(positions)
    lengths = [length for length in known if isinstance(length, int) and length >= SHORTEST]
    if not lengths:
        raise CheckpointError(f"{layout.transformer}: nothing says how long a text may be.")
    return min(lengths)


def _load(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(file))
    except Exception as error:  # protobuf's, the checker's and the system's have no common base
        raise CheckpointError(f"{file}: cannot be read as an ONNX graph ({error}).") from error
    unknown = _domains(model.graph) - set(_DOMAINS)
    if unknown:
        raise UnsupportedModelError(f"{file}: has operators of {', '.join(sorted(unknown))}, not known here.")
    if _opset(model) < _OLDEST_OPSET:
        raise UnsupportedModelError(
            f"{file}: opset {_opset(model)}, at least {_OLDEST_OPSET} is needed; export it again."
        )
    return model


def _domains(graph: onnx.GraphProto) -> set[str]:
    return {node.domain for node in graph.node}


def _opset(model: onnx.ModelProto) -> int:
    versions = [int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx")]
    return max(versions, default=0)


def _precision(graph: onnx.GraphProto) -> Any:
    """Of the matrices: the narrowest type that any has, for that decides what the gate can ask."""
    types = {each.data_type for each in graph.initializer if len(each.dims) > 1}
    if types & {TensorProto.INT8, TensorProto.UINT8}:
        return "int8"
    return "fp16" if TensorProto.FLOAT16 in types else "fp32"


def _complete(model: onnx.ModelProto, given: _Given) -> int:
    """Give ``model`` the interface of a bundle; return the length of its vectors."""
    graph = model.graph
    _settle_inputs(graph, given.file)
    outputs = {each.name: each for each in graph.output}
    states = next((outputs[name] for name in _STATES if name in outputs), None)
    if _SENTENCE in outputs:
        sentence, dimension = outputs[_SENTENCE], _last_dimension(outputs[_SENTENCE], given)
        name = sentence.name
        if sentence.type.tensor_type.elem_type != TensorProto.FLOAT:
            _rename(graph, name, f"{name}_narrow")
            _add(graph, "Cast", [f"{name}_narrow"], name, to=TensorProto.FLOAT)
    elif states is not None:
        dimension = _last_dimension(states, given)
        _pool(graph, states.name, given)
    else:
        raise UnsupportedModelError(
            f"{given.file}: gives {', '.join(outputs)}; {_SENTENCE} or {' or '.join(_STATES)} is expected."
        )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(_SENTENCE, TensorProto.FLOAT, ["batch", dimension]))
    return dimension


def _settle_inputs(graph: onnx.GraphProto, file: Path) -> None:
    """Check the inputs, and put zeros in the place of token types: one text is all there is."""
    constants = {each.name for each in graph.initializer}
    inputs = {each.name: each for each in graph.input if each.name not in constants}
    needed = {"input_ids", "attention_mask"}
    if not needed <= inputs.keys() <= needed | {"token_type_ids"}:
        raise UnsupportedModelError(
            f"{file}: takes {', '.join(inputs)}; input_ids, attention_mask and perhaps token_type_ids are "
            "expected."
        )
    if any(each.type.tensor_type.elem_type != TensorProto.INT64 for each in inputs.values()):
        raise UnsupportedModelError(f"{file}: its inputs are not int64.")
    if "token_type_ids" in inputs:
        graph.input.remove(inputs["token_type_ids"])
        zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
        graph.node.insert(0, helper.make_node("Shape", ["input_ids"], ["m3e_shape"]))
        graph.node.insert(
            1, helper.make_node("ConstantOfShape", ["m3e_shape"], ["token_type_ids"], value=zero)
        )


def _last_dimension(value: onnx.ValueInfoProto, given: _Given) -> int:
    dims = value.type.tensor_type.shape.dim
    if dims and dims[-1].dim_value:
        return int(dims[-1].dim_value)
    sizes = [given.config.get(key) for key in ("hidden_size", "dim", "d_model")]
    size = next((size for size in sizes if isinstance(size, int)), None)
    if size is None or given.layout.dense:
        raise CheckpointError(f"{given.file}: neither it nor config.json says how long its vectors are.")
    return size


def _pool(graph: onnx.GraphProto, states: str, given: _Given) -> None:
    """Add what the folder's modules do after the transformer, in standard operators."""
    layout = given.layout
    if layout.dense or layout.pooling not in ("mean", "cls"):
        what = "Dense modules" if layout.dense else f"the pooling {layout.pooling!r}"
        raise UnsupportedModelError(
            f"{given.folder}: {what} cannot be added to a graph; export it with {_SENTENCE} as an output."
        )
    _rename(graph, _SENTENCE, "m3e_unused")  # a value of that name that is no output
    _add(graph, "Cast", [states], "m3e_states", to=TensorProto.FLOAT)
    pooled = "m3e_pooled" if layout.normalize else _SENTENCE
    if layout.pooling == "cls":
        _add(graph, "Gather", ["m3e_states", _constant(graph, "m3e_first", np.array(0))], pooled, axis=1)
    else:
        _mean(graph, pooled)
    if layout.normalize:
        _normalize(graph, pooled, _SENTENCE)


def _mean(graph: onnx.GraphProto, result: str) -> None:
    last = _constant(graph, "m3e_last", np.array([2]))
    tokens = _constant(graph, "m3e_tokens", np.array([1]))
    least = _constant(graph, "m3e_least", np.array(_LEAST_TOKENS, np.float32))
    _add(graph, "Cast", ["attention_mask"], "m3e_mask", to=TensorProto.FLOAT)
    _add(graph, "Unsqueeze", ["m3e_mask", last], "m3e_weights")
    _add(graph, "Mul", ["m3e_states", "m3e_weights"], "m3e_kept")
    _add(graph, "ReduceSum", ["m3e_kept", tokens], "m3e_sum", keepdims=0)
    _add(graph, "ReduceSum", ["m3e_weights", tokens], "m3e_count", keepdims=0)
    _add(graph, "Max", ["m3e_count", least], "m3e_divisor")
    _add(graph, "Div", ["m3e_sum", "m3e_divisor"], result)


def _normalize(graph: onnx.GraphProto, vectors: str, result: str) -> None:
    axis = _constant(graph, "m3e_axis", np.array([1]))
    least = _constant(graph, "m3e_shortest", np.array(1e-12, np.float32))
    _add(graph, "Mul", [vectors, vectors], "m3e_squares")
    _add(graph, "ReduceSum", ["m3e_squares", axis], "m3e_square", keepdims=1)
    _add(graph, "Sqrt", ["m3e_square"], "m3e_length")
    _add(graph, "Max", ["m3e_length", least], "m3e_scale")
    _add(graph, "Div", [vectors, "m3e_scale"], result)


def _add(graph: onnx.GraphProto, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
    graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))


def _constant(graph: onnx.GraphProto, name: str, value: npt.NDArray[Any]) -> str:
    graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return name


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def _save(model: onnx.ModelProto, file: Path) -> list[Path]:
    file.parent.mkdir(parents=True)
    if model.ByteSize() <= _PROTOBUF_LIMIT:
        onnx.save(model, str(file))
        files = [file]
    else:
        data = file.with_name(file.name + "_data")
        onnx.save(model, str(file), save_as_external_data=True, location=data.name)
        files = [file, data]
    try:
        onnx.checker.check_model(str(file))
    except onnx.checker.ValidationError as error:
        raise CheckpointError(f"the graph is not valid: {error}") from error
    return files


def _judge(
    given: _Given, file: Path, precision: str, texts: tuple[str, ...], enforced: bool
) -> tuple[Gate, Fidelity]:
    """The gate with its reference, and what it has measured.

    Raises:
        BelowGateError: too far away.
    """
    engine = OnnxRuntimeCpu(file, available_threads())
    token_ids = given.token_ids(texts)
    alone = np.concatenate([_run(engine, file, [ids]) for ids in token_ids])
    original = _original(given, texts)
    if original is None:
        gate, vectors = Gate(texts, ITSELF, alone, enforced), _batched(engine, file, token_ids)
    else:
        gate, vectors = Gate(texts, *original, enforced), alone
    measured = fidelity.measure(gate, vectors, precision)
    problems = "; ".join(fidelity.failures(measured))
    if problems and gate.enforced:
        raise BelowGateError(f"{given.file} is below the gate: {problems}. Nothing was written.")
    if problems:
        logger.warning("%s is below the gate: %s.", given.file, problems)
    return gate, measured


def _run(engine: OnnxRuntimeCpu, file: Path, token_ids: Sequence[TokenIds]) -> Vectors:
    try:
        return engine.run(token_ids)
    except Exception as error:  # the library's exceptions have no common base
        longest = max(map(len, token_ids))
        raise CheckpointError(
            f"{file.name}: fails on {len(token_ids)} texts of {longest} tokens: {error}"
        ) from error


def _batched(engine: OnnxRuntimeCpu, file: Path, token_ids: Sequence[TokenIds]) -> Vectors:
    """Vectors as the runtime computes many, with padding; in the order given."""
    # Texts of unequal length together, so that every batch has padding.
    batches = [list(range(start, len(token_ids), 8)) for start in range(min(8, len(token_ids)))]
    found = [_run(engine, file, [token_ids[at] for at in batch]) for batch in batches]
    vectors = np.empty((len(token_ids), found[0].shape[1]), dtype=np.float32)
    for batch, rows in zip(batches, found, strict=True):
        vectors[batch] = rows
    return vectors


def _original(given: _Given, texts: Sequence[str]) -> tuple[str, Vectors] | None:
    """The oracle's name and vectors, if the weights of a known family lie beside the graph."""
    transformer = given.layout.transformer
    names = [name + index for name in _WEIGHTS for index in ("", ".index.json")]
    if not any((transformer / name).is_file() for name in names):
        logger.warning("%s: no weights lie beside the graph; it is judged against itself.", given.folder)
        return None
    try:
        checkpoint = load_checkpoint(str(given.folder), pooling=given.pooling, max_length=given.max_length)
    except UnsupportedModelError as error:
        logger.warning("The graph is judged against itself: %s", error)
        return None
    oracle = load_oracle(checkpoint)
    return oracle.name, oracle.encode(texts, lambda _: None)


def _manifest(given: _Given, gate: Gate, artifact: Artifact, dimension: int, work: Path) -> Manifest:
    tokenizer = work / "tokenizer.json"
    tokenizer.write_text(given.tokenizer.to_str(pretty=False), encoding="utf-8")
    layout: Any = given.layout
    chosen = np.linspace(0, len(gate.texts) - 1, min(_GOLDEN_TEXTS, len(gate.texts))).astype(int)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        exporter=f"m3e-runtime {m3e_runtime.__version__}",
        source=Source(given.folder.resolve().name, artifact.files[0].sha256, given.model_type),
        licence=licence_of(given.folder, given.folder.name, given.config),
        dimension=dimension,
        pooling=layout.pooling,
        normalize=layout.normalize,
        tokenization=Tokenization(
            entry_of(work, tokenizer), given.max_length, int(given.config.get("pad_token_id") or 0)
        ),
        similarity=layout.similarity,
        prompts=layout.prompts,
        default_prompt_name=layout.default_prompt_name,
        artifacts=(artifact,),
        golden=GoldenVectors.pack(tuple(gate.texts[i] for i in chosen), gate.reference[chosen]),
    )
