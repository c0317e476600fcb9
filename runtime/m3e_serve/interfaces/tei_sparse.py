"""TEI's route of sparse vectors. It uses the first model.

The request and the answer are those of ``router/src/http/types.rs`` and ``server.rs`` in
https://github.com/huggingface/text-embeddings-inference.
"""

from __future__ import annotations

import msgspec

from m3e_runtime.errors import OptionError
from m3e_runtime.token_outputs import SparseVector
from m3e_serve.errors import ApiError
from m3e_serve.interfaces.inputs import RawInputs, WithoutChunks, read_inputs, refuse_chunks
from m3e_serve.interfaces.prompts import choose_prompt
from m3e_serve.interfaces.tei import keeps_end
from m3e_serve.models.served_model import ServedModel, SparseEmbedded
from m3e_serve.requests.call import Call
from m3e_serve.requests.json_bodies import BodyDecoder
from m3e_serve.requests.response import Response, rows_response
from m3e_serve.service import Service

__all__ = ["EmbedSparse", "EmbedSparseRequest", "SparseValue"]


class EmbedSparseRequest(WithoutChunks):
    """The body of ``/embed_sparse``."""

    inputs: RawInputs
    truncate: bool | None = None
    truncation_direction: str = "Right"
    prompt_name: str | None = None


class SparseValue(msgspec.Struct):
    """A token id and its weight."""

    index: int
    value: float


_decoder = BodyDecoder(EmbedSparseRequest)


class EmbedSparse:
    """``POST /embed_sparse``: the weights of each text, by ascending token id."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, call: Call) -> Response:
        """A list of token ids with weights for each text."""
        request = _decoder.decode(call.body)
        refuse_chunks(request)
        model = self._service.models.default
        call.model = model.name
        embedded = await self._embed(call, request, model)
        call.tokens, call.truncated = embedded.tokens, embedded.truncated
        return await rows_response(embedded.vectors, lambda some: [_values(vector) for vector in some])

    async def _embed(self, call: Call, request: EmbedSparseRequest, model: ServedModel) -> SparseEmbedded:
        settings = self._service.settings
        inputs = read_inputs(request.inputs, "inputs", settings.max_texts)
        model, prompt = choose_prompt(model, prompt_name=request.prompt_name)
        keep_end = keeps_end(request.truncation_direction)
        if inputs.token_ids:
            raise ApiError(422, "inputs: token ids are not supported here; send texts.", tei_type="Tokenizer")
        _check_model(model)
        truncate = settings.truncate if request.truncate is None else request.truncate
        return await model.embed_sparse(
            inputs.texts, call.priority(inputs.count), truncate=truncate, prompt=prompt, keep_end=keep_end
        )


def _check_model(model: ServedModel) -> None:
    """Raise TEI's error for a model without sparse vectors."""
    try:
        model.encoder.wanted_outputs(["sparse"])
    except OptionError as error:
        raise ApiError(424, str(error), "sparse_not_supported", tei_type="Backend") from error


def _values(vector: SparseVector) -> list[dict[str, float]]:
    pairs = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
    return [{"index": index, "value": value} for index, value in pairs]
