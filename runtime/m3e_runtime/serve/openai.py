"""OpenAI's ``/v1/embeddings`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Meta

from m3e_runtime.serve.endpoint import Answer, Call, json_answer
from m3e_runtime.serve.errors import ApiError
from m3e_runtime.serve.models import Embedded, ServedModel
from m3e_runtime.serve.service import Service

__all__ = ["EmbeddingRequest", "Embeddings", "ModelList", "OneModel"]

_ROWS = 64
"""Vectors turned into text at a time; in between, others get their turn."""


class EmbeddingRequest(msgspec.Struct):
    """The body of a request. Fields that are not known are passed over, as clients send all kinds of them.

    Attributes:
        input: a text, or a list of texts.
        model: a name that ``/v1/models`` lists.
        encoding_format: numbers, or base64 of little-endian float32.
        dimensions: keep so many leading dimensions, and scale to unit length again.
        user: not used.
        tokenizer: the name of the model, where ``input`` holds token ids of its own tokenizer, special tokens
            included, as ``/tokenize`` gives them.
    """

    input: str | list[str | int | list[int]]
    model: str
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None
    tokenizer: str | None = None


_decoder = msgspec.json.Decoder(EmbeddingRequest)


class Embeddings:
    """``POST /v1/embeddings``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Answer:
        """Vectors of unit length."""
        request = _decoder.decode(call.body)
        model = self._service.models.find(request.model)
        call.model = model.name
        embedded = await self._embed(call, request, model)
        call.tokens = embedded.tokens
        vectors = _padded(embedded.vectors, request.dimensions or self._service.settings.pad_to)
        data = await _data(vectors, request.encoding_format == "base64")
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        rest = orjson.dumps({"model": model.name, "usage": usage})
        return Answer(b"".join([b'{"object":"list","data":[', *data, b"],", rest[1:]]))

    async def _embed(self, call: Call, request: EmbeddingRequest, model: ServedModel) -> Embedded:
        settings = self._service.settings
        longest = settings.pad_to or model.encoder.dimension
        if request.dimensions is not None and request.dimensions > longest:
            raise ApiError(
                400,
                f"dimensions={request.dimensions}: the model has {longest}.",
                "invalid_value",
                "dimensions",
            )
        # What is longer than the model's own vectors is zeros.
        dimensions = request.dimensions and min(request.dimensions, model.encoder.dimension)
        texts, token_ids = _inputs(request.input)
        count = len(texts) or len(token_ids)
        if count > settings.max_texts:
            raise ApiError(
                400, f"{count} inputs; at most {settings.max_texts} are possible.", "invalid_value", "input"
            )
        priority = call.priority(count)
        if token_ids:
            if request.tokenizer is None or self._service.models.names.get(request.tokenizer) is not model:
                raise _foreign_ids(model.name)
            return await model.embed_ids(token_ids, priority, normalize=True, dimensions=dimensions)
        return await model.embed(
            texts, priority, truncate=settings.truncate, normalize=True, dimensions=dimensions
        )


class ModelList:
    """``GET /v1/models``: the bundles and their aliases."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Answer:
        """All names."""
        names = self._service.models.names.items()
        return json_answer({"object": "list", "data": [_described(name, model) for name, model in names]})


class OneModel:
    """``GET /v1/models/{id}``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Answer:
        """One name."""
        name = call.path["id"]
        return json_answer(_described(name, self._service.models.find(name)))


def _described(name: str, model: ServedModel) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": model.created, "owned_by": "m3e-runtime"}


def _inputs(given: str | list[str | int | list[int]]) -> tuple[list[str], Sequence[Sequence[int]]]:
    """The texts, or else the token ids, of which there is at least one."""
    if isinstance(given, str):
        given = [given]
    if not given:
        raise ApiError(400, "`input` is empty; send a text or a list of texts.", "invalid_value", "input")
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) == len(given):
        if "" in texts:
            raise ApiError(400, "`input` holds an empty text.", "invalid_value", "input")
        return texts, []
    numbers = [each for each in given if isinstance(each, int)]
    if len(numbers) == len(given):
        return [], [numbers]
    lists = [each for each in given if isinstance(each, list)]
    if len(lists) == len(given):
        return [], lists
    raise ApiError(400, "`input` mixes texts and token ids.", "invalid_value", "input")


def _foreign_ids(name: str) -> ApiError:
    return ApiError(
        400,
        "`input` holds token ids. Clients make them with OpenAI's tokenizers, whose ids mean other words "
        "here: send texts (in LangChain `check_embedding_ctx_length=False`). Ids of this model's own "
        f'tokenizer, special tokens included, need "tokenizer": "{name}" beside them.',
        "token_ids_not_supported",
        "input",
    )


def _padded(vectors: npt.NDArray[np.float32], length: int | None) -> npt.NDArray[np.float32]:
    """Zeros at the end up to ``length``: cosines and unit length stay as they are."""
    if length is None or length <= vectors.shape[1]:
        return vectors
    padded = np.zeros((len(vectors), length), dtype=np.float32)
    padded[:, : vectors.shape[1]] = vectors
    return padded


async def _data(vectors: npt.NDArray[np.float32], base64: bool) -> list[bytes]:
    """The members of ``data``, with commas between."""
    parts: list[bytes] = []
    for start in range(0, len(vectors), _ROWS):
        if start:
            parts.append(b",")
            await asyncio.sleep(0)
        rows = [
            {
                "object": "embedding",
                "index": start + at,
                "embedding": _base64(vector) if base64 else vector,
            }
            for at, vector in enumerate(vectors[start : start + _ROWS])
        ]
        parts.append(orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    return parts


def _base64(vector: npt.NDArray[np.float32]) -> str:
    return binascii.b2a_base64(vector.astype("<f4", copy=False).tobytes(), newline=False).decode("ascii")
