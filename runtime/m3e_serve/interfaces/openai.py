"""OpenAI's ``/v1/embeddings`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import binascii
import json
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Meta

from m3e_runtime.chunking import ChunkOptions
from m3e_runtime.truncation import Truncation
from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import RawInputs, first_given, read_inputs
from m3e_serve.interfaces.prompts import choose_prompt
from m3e_serve.models.served_model import Embedded, ServedModel
from m3e_serve.models.served_reranker import ServedReranker
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, json_response
from m3e_serve.service import Service

__all__ = ["FIXED", "EmbeddingRequest", "Embeddings", "ModelList", "OneModel"]

_ROWS = 64
"""Vectors serialized at a time. In between, the event loop serves other requests."""


FIXED: dict[str, tuple[object, ...]] = {
    "add_special_tokens": (True,),
    "embedding_type": ("float",),
    "embedding_types": (["float"],),
    "instruction": (),
    "late_chunking": (False,),
    "normalize": (True,),
    "normalized": (True,),
    "output_dimension": (),
    "output_dtype": ("float",),
    "prompt": (),
    "task_type": (),
    "truncate_prompt_tokens": (),
    "truncation_direction": ("right", "Right"),  # the left only on TEI's routes
}
"""Fields of other services that would change the vectors, and the values that agree with this service."""

_FixedFields = msgspec.defstruct("_FixedFields", [(name, Any, None) for name in FIXED], kw_only=True)


class EmbeddingRequest(_FixedFields, kw_only=True):  # type: ignore[misc, valid-type, call-arg]
    """The body of a request.

    Unknown fields are ignored, because clients send many of them. Fields that would change the vectors but
    are not supported (:data:`FIXED`) are rejected.

    Attributes:
        input: a text, or a list of texts.
        model: a name in ``/v1/models``. Optional if only one model is served.
        encoding_format: numbers, or base64 of little-endian float32.
        dimensions: keep only this many leading dimensions, and normalize again.
        user: ignored.
        tokenizer: the name of the model, if ``input`` has token ids of its tokenizer, with special tokens, as
            ``/tokenize`` returns them.
        prompt_name: name of the bundle's prompt to prepend to each text.
        input_type: type of the texts, as Cohere's and Voyage's clients send it: ``query`` or ``document``.
        task: the same, as Jina's clients send it.
        truncate: truncate long texts, or reject them. The default is an option of the service.
        truncation: the same, as Voyage's clients send it; or ``cut``, ``error``, or ``chunk``, which encodes
            all of each text and gives a vector for each chunk.
        chunking: the length of chunks and their overlap, in tokens, and whether chunking is late.
    """

    input: RawInputs
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    tokenizer: str | None = None
    prompt_name: str | None = None
    input_type: str | None = None
    task: str | None = None
    truncate: bool | None = None
    truncation: bool | Truncation | None = None
    chunking: ChunkOptions | None = None


_decoder = BodyDecoder(EmbeddingRequest)


class Embeddings:
    """``POST /v1/embeddings``, and Azure's route, which has the name of the model in the path."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """Vectors of unit length."""
        request = _decoder.decode(call.body)
        _check_fixed(request)
        model = self._service.models.choose(call.path.get("id", request.model))
        call.model = model.name
        embedded = await self._embed(call, request, model)
        call.tokens, call.truncated = embedded.tokens, embedded.truncated
        vectors = _padded(embedded.vectors, request.dimensions or self._service.settings.pad_to)
        data = await _data(vectors, request.encoding_format == "base64", _places(embedded))
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        rest = orjson.dumps({"model": model.name, "usage": usage})
        return Response(b"".join([b'{"object":"list","data":[', *data, b"],", rest[1:]]))

    async def _embed(self, call: Call, request: EmbeddingRequest, model: ServedModel) -> Embedded:
        settings = self._service.settings
        model.check_dimensions(request.dimensions, settings.pad_to)
        # Dimensions beyond the model's are padded with zeros.
        dimensions = request.dimensions and min(request.dimensions, model.encoder.full_dimension)
        inputs = read_inputs(request.input, "input", settings.max_texts)
        model, prompt = choose_prompt(
            model,
            prompt_name=request.prompt_name,
            input_type=request.input_type,
            task=request.task,
        )
        priority = call.priority(inputs.count)
        _check_chunking(request, bool(inputs.token_ids))
        if inputs.token_ids:
            self._check_ids(request, model, prompt)
            return await model.embed_ids(inputs.token_ids, priority, normalize=True, dimensions=dimensions)
        if "" in inputs.texts:
            message = f"`input` has an empty text, input[{inputs.texts.index('')}]."
            raise ApiError(400, message, "invalid_value", "input")
        if request.truncation == "chunk":
            return await model.embed_chunks(
                inputs.texts,
                priority,
                request.chunking or ChunkOptions(),
                normalize=True,
                most=settings.max_texts,
                dimensions=dimensions,
                prompt=prompt,
            )
        return await model.embed(
            inputs.texts,
            priority,
            truncate=first_given(request.truncate, _cuts(request.truncation), settings.truncate),
            normalize=True,
            dimensions=dimensions,
            prompt=prompt,
        )

    def _check_ids(self, request: EmbeddingRequest, model: ServedModel, prompt: str) -> None:
        named = self._service.models.names.get(request.tokenizer or "")
        if named is None or named.name != model.name:
            raise _unknown_tokenizer(model.name)
        for field in ("prompt_name", "input_type", "task"):
            # A task without a prompt selects the route only.
            if getattr(request, field) is not None and (prompt or not model.routes):
                message = f"{field} is for texts; prepend the prompt's token ids to those in `input`."
                raise ApiError(400, message, "invalid_value", field)


class ModelList:
    """``GET /v1/models``: the bundles and their aliases."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """All names."""
        names = self._service.models.names.items()
        return json_response({"object": "list", "data": [_described(name, model) for name, model in names]})


class OneModel:
    """``GET /v1/models/{id}``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """One name."""
        name = call.path["id"]
        return json_response(_described(name, self._service.models.find(name)))


def _described(name: str, model: ServedModel | ServedReranker) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "m3e-runtime",
        "task": model.task,
    }


def _check_fixed(request: EmbeddingRequest) -> None:
    for name, allowed in FIXED.items():
        value = getattr(request, name)
        if value is not None and not any(type(value) is type(each) and value == each for each in allowed):
            cure = f"the only value is {json.dumps(allowed[0])}" if allowed else "leave it out"
            raise ApiError(400, f"This value of `{name}` is not supported; {cure}.", "invalid_value", name)


def _check_chunking(request: EmbeddingRequest, has_ids: bool) -> None:
    chunks = request.truncation == "chunk"
    if request.chunking is not None and not chunks:
        raise _wrong("chunking", '`chunking` is for "truncation": "chunk"')
    if chunks and request.truncate is not None:
        raise _wrong("truncate", '`truncate` has no meaning beside "truncation": "chunk"; leave it out')
    if chunks and has_ids:
        raise _wrong("truncation", "chunks are made of texts, not of token ids")


def _wrong(field: str, reason: str) -> ApiError:
    return ApiError(400, f"{reason}.", "invalid_value", field)


def _cuts(truncation: bool | Truncation | None) -> bool | None:
    """Whether long texts are cut; None if the request does not say."""
    return truncation == "cut" if isinstance(truncation, str) else truncation


def _places(embedded: Embedded) -> list[dict[str, int]]:
    """What a response says of each vector: the number of its text, and the place of a chunk in it."""
    if embedded.chunks is None:
        return [{"index": index} for index in range(len(embedded.vectors))]
    return [
        {"index": index, "chunk": number, "start": chunk.start, "end": chunk.end}
        for index, chunks in enumerate(embedded.chunks)
        for number, chunk in enumerate(chunks)
    ]


def _unknown_tokenizer(name: str) -> ApiError:
    return ApiError(
        400,
        "`input` has token ids. Clients make them with OpenAI's tokenizers, whose ids stand for other words "
        "in this model: send texts (in LangChain `check_embedding_ctx_length=False`). For ids of the model's "
        f'own tokenizer, with special tokens, add "tokenizer": "{name}".',
        "token_ids_not_supported",
        "input",
    )


def _padded(vectors: npt.NDArray[np.float32], length: int | None) -> npt.NDArray[np.float32]:
    """Pad vectors with zeros up to ``length``, which changes neither cosines nor lengths."""
    if length is None or length <= vectors.shape[1]:
        return vectors
    padded = np.zeros((len(vectors), length), dtype=np.float32)
    padded[:, : vectors.shape[1]] = vectors
    return padded


async def _data(vectors: npt.NDArray[np.float32], base64: bool, places: list[dict[str, int]]) -> list[bytes]:
    """The items of ``data``, separated by commas."""
    parts: list[bytes] = []
    for start in range(0, len(vectors), _ROWS):
        if start:
            parts.append(b",")
            await asyncio.sleep(0)
        rows = [
            {
                "object": "embedding",
                **places[start + at],
                "embedding": _base64(vector) if base64 else vector,
            }
            for at, vector in enumerate(vectors[start : start + _ROWS])
        ]
        parts.append(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    return parts


def _base64(vector: npt.NDArray[np.float32]) -> str:
    return binascii.b2a_base64(vector.astype("<f4", copy=False).tobytes(), newline=False).decode("ascii")
